package guard

// Generation is that of the verdicts on flows in force; 0: the rules keep none.
func (k *Keeper) Generation() uint16 { return k.installed.Generation() }

// Renew has all verdicts on flows void, and returns the generation from then on. It belongs
// to the goroutine of Serve.
func (k *Keeper) Renew() (generation uint16, err error) { return k.installed.Renew() }
