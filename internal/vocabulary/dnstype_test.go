package vocabulary

import (
	"testing"

	"github.com/miekg/dns"
)

func TestDNSTypes(t *testing.T) {
	for name, n := range dnsTypes {
		if want := dns.StringToType[name]; want != n {
			t.Errorf("%s is %d, and miekg/dns has %d", name, n, want)
		}
	}
	for n := range 1 << 16 {
		if got, err := ParseDNSType(DNSTypeName(uint16(n))); err != nil || got != uint16(n) {
			t.Fatalf("%d is read as %d, %v", n, got, err)
		}
	}
	for text, want := range map[string]uint16{"aaaa": 28, "TYPE65": 65, "type0": 0} {
		if got, err := ParseDNSType(text); err != nil || got != want {
			t.Errorf("%s is read as %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "AAAAA", "TYPE", "-1", "65536", " A"} {
		if n, err := ParseDNSType(text); err == nil {
			t.Errorf("%q is read as %d", text, n)
		}
	}
}
