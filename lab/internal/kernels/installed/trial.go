package installed

import (
	"context"
	"fmt"
	"os"
	"time"

	"verdictd/internal/results"
	"verdictd/lab/internal/testbed"
)

// Where neither is said, the rate and the gap come from what the machine shows: one that is emulated on a busy host is
// a hundred times slower than the host, and how slow changes.
const (
	// share of the packets that one stream can have judged at full speed is the rate of each of the two: the rest of
	// the time is for systemd, dpkg, and a host that gets busier.
	share = 10
	// A restart that takes so many times as long as the one that was tried loses nothing yet.
	patience = 8
	leastGap = 30 * time.Second

	trialTime = 5 * time.Second
	firstRate = 50 // the queues are made for it until more is known
)

// trial finds out what the machine manages, and has the service wait as long as it has to.
func (g *guest) trial(ctx context.Context) (string, error) {
	var text string
	if g.Rate == 0 {
		manages, err := g.manages(ctx)
		if err != nil {
			return "", err
		}
		g.Rate = max(1, int(manages/share))
		text = fmt.Sprintf("%.0f packets/s are judged at most, so the streams have %d each; ", manages, g.Rate)
	}
	if g.Gap != 0 {
		return text + "the gap is told", g.configure(ctx)
	}
	g.Gap = leastGap
	if err := g.configure(ctx); err != nil {
		return "", err
	}
	// What is lost here is not counted: it only tells how long.
	var restart seen
	_, err := g.during(ctx, func() error {
		g.watch.take()
		err := g.other(ctx, unit, "systemctl", "restart", unit)
		restart = g.watch.take()
		return err
	})
	if err != nil {
		return "", err
	}
	g.Gap = max(leastGap, (patience * restart.dark).Round(time.Second))
	return fmt.Sprintf("%sa restart: %v; so the queues take %v", text, restart, g.Gap), g.configure(ctx)
}

// manages is how many packets a second of one stream the service judges while more come.
func (g *guest) manages(ctx context.Context) (float64, error) {
	s, err := startStream(ctx, "trial", "flood", "--target", peerAddress, "--port", acceptedPort, "--flows", "64",
		"--duration", trialTime.String(), "--linger", "1s")
	if err != nil {
		return 0, err
	}
	var r results.Flood
	if err := s.wait(&r); err != nil {
		return 0, err
	}
	if r.FloodArrivals == nil || r.Delivered == 0 {
		return 0, fmt.Errorf("nothing arrived in %v%s", trialTime, s.stderr.Quote(testbed.Quoted))
	}
	return r.PacketsPerSecond, nil
}

// configure has the service work by a configuration for the rate and the gap.
func (g *guest) configure(ctx context.Context) error {
	if err := g.write(); err != nil {
		return err
	}
	return g.other(ctx, unit, "systemctl", "restart", unit)
}

// write writes that.
func (l *Load) write() error {
	length, buffer := l.room()
	return os.WriteFile(configurationPath, fmt.Appendf(nil, configuration, length, buffer, l.Gap), 0o640)
}
