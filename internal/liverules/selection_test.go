package liverules

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// String is for tests: families, protocols, ports, and E for errors of ICMP.
func (s Selection) String() string {
	words := []string{}
	for _, f := range s.Families {
		words = append(words, string(f))
	}
	list := func(sign string, protocols []Protocol) {
		for _, p := range protocols {
			words = append(words, sign+p.String())
		}
	}
	list("", s.Protocols)
	list("!", s.Except)
	for _, r := range s.Ports {
		words = append(words, r.String())
	}
	if s.ICMPErrors {
		words = append(words, "E")
	}
	return strings.Join(words, " ")
}

func selectionsText(list []Selection) string {
	var words []string
	for _, s := range list {
		words = append(words, s.String())
	}
	return strings.Join(words, "; ")
}

// Rules of real programs, each alone behind those that begin with a plus. Of nft
// rules the last word is the queue.
func TestSelectionsOfRealRules(t *testing.T) {
	tests := []struct {
		rules string
		want  string
	}{
		{"iptables-legacy -t mangle -A OUTPUT -j NFQUEUE", "ip E"},
		{"iptables-legacy -t mangle -A OUTPUT -p udp -j NFQUEUE", "ip udp"},
		{"iptables-legacy -t mangle -A OUTPUT ! -p udp -j NFQUEUE", "ip !udp E"},
		{"iptables-legacy -t mangle -A OUTPUT -p udp --dport 53 -j NFQUEUE", "ip udp 53"},
		{"iptables-legacy -t mangle -A OUTPUT -p udp ! --dport 53 -j NFQUEUE", "ip udp"},
		{"iptables-legacy -t mangle -A OUTPUT -p udp --sport 1024:65535 --dport 53:54 -j NFQUEUE", "ip udp 53-54"},
		{"iptables-legacy -t mangle -A OUTPUT -p udp -m multiport --ports 53,1000:2000 -j NFQUEUE", "ip udp 53 1000-2000"},
		{"iptables-legacy -t mangle -A OUTPUT -p udp -m multiport ! --dports 0:99,101:65535 -j NFQUEUE", "ip udp 100"},
		{"iptables-legacy -t mangle -A OUTPUT -p udp -m multiport --dports 53,99 -m length --length 40:90 -j NFQUEUE", "ip udp 53 99"},
		{"iptables-legacy -t mangle -A OUTPUT -m mark --mark 1 -j NFQUEUE", "ip E"},
		{"iptables-legacy -t mangle -A OUTPUT -p icmp --icmp-type echo-request -j NFQUEUE", "ip icmp"},
		{"iptables-legacy -t mangle -A OUTPUT -p icmp --icmp-type any -j NFQUEUE", "ip icmp E"},
		{"iptables-legacy -t mangle -A OUTPUT -p icmp --icmp-type 3/4 -j NFQUEUE", "ip icmp E"},
		{"iptables-legacy -t mangle -A OUTPUT -m conntrack --ctstate NEW -j NFQUEUE", "ip"},
		{"iptables-legacy -t mangle -A OUTPUT -m conntrack ! --ctstate RELATED,ESTABLISHED -j NFQUEUE", "ip"},
		{"iptables-legacy -t mangle -A OUTPUT -m state --state RELATED -j NFQUEUE", "ip E"},
		{"ip6tables-legacy -t mangle -A OUTPUT -p icmpv6 -j NFQUEUE", "ip6 ipv6-icmp E"},
		{"ip6tables-legacy -t mangle -A OUTPUT -p icmpv6 --icmpv6-type 128 -j NFQUEUE", "ip6 ipv6-icmp"},
		{"ip6tables-legacy -t mangle -A FORWARD -p udplite -j NFQUEUE", "ip6 udplite"},
		{"iptables-legacy -t mangle -A OUTPUT -p tcp -j ACCEPT\niptables-legacy -t mangle -A OUTPUT -j NFQUEUE", "ip !tcp E"},
		{"iptables-legacy -t mangle -A OUTPUT ! -p gre -j ACCEPT\niptables-legacy -t mangle -A OUTPUT -j NFQUEUE", "ip gre"},
		{"iptables-legacy -t mangle -A OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\niptables-legacy -t mangle -A OUTPUT -j NFQUEUE", "ip"},
		{"iptables-legacy -t mangle -A OUTPUT -p udp --dport 53 -j ACCEPT\niptables-legacy -t mangle -A OUTPUT -j NFQUEUE", "ip E"},
		{"iptables-legacy -t mangle -N q\niptables-legacy -t mangle -A OUTPUT -p udp --dport 53 -j q\niptables-legacy -t mangle -A OUTPUT -p udplite -m multiport --sports 99 -j q\niptables-legacy -t mangle -A q -j NFQUEUE", "ip udp 53; ip udplite 99"},
		{"iptables-nft -t mangle -A OUTPUT -p udp -m multiport --dports 53,1000:2000 -j NFQUEUE", "ip udp 53 1000-2000"},
		{"iptables-nft -t mangle -A OUTPUT -p udp ! --dport 53 -j NFQUEUE", "ip udp"},
		{"iptables-nft -t mangle -A OUTPUT -p udp --sport 53:99 -j NFQUEUE", "ip udp 53-99"},
		{"iptables-nft -t mangle -A OUTPUT -m conntrack --ctstate NEW -j NFQUEUE", "ip"},
		{"ip6tables-nft -t mangle -A OUTPUT -p icmpv6 --icmpv6-type 1 -j NFQUEUE", "ip6 ipv6-icmp E"},
	}
	for i, test := range tests {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			testkit.Namespace(t)
			commands(t, test.rules)
			q := queueOf(t, read(t), 0)
			if got := selectionsText(q.Reaches[0].Packets); got != test.want {
				t.Errorf("%s: %q, want %q", test.rules, got, test.want)
			}
		})
	}
}

// Conditions in nft's own language, before a jump to the chain with the queue.
func TestSelectionsOfNFT(t *testing.T) {
	tests := []struct{ rules, want string }{
		{"jump q", "ip ip6 E"},
		{"udp dport 53 jump q", "ip ip6 udp 53"},
		{"udp dport { 53, 853, 1000-2000 } jump q", "ip ip6 udp 53 853 1000-2000"},
		{"udp dport { 0-10, 60000-65535 } jump q", "ip ip6 udp 0-10 60000-65535"},
		{"udp dport { 1000-2000, 2001-3000, 2500 } jump q", "ip ip6 udp 1000-3000"},
		{"udp dport != { 0-99, 101-65535 } jump q", "ip ip6 udp 100"},
		{"udp sport 53-99 jump q", "ip ip6 udp 53-99"},
		{"udp dport >= 60000 jump q", "ip ip6 udp 60000-65535"},
		{"udp dport < 100 jump q", "ip ip6 udp 0-99"},
		{"udp dport != 100-65535 jump q", "ip ip6 udp 0-99"},
		{"udp dport != 53 jump q", "ip ip6 udp"},
		{"meta l4proto { udp, icmp, ipv6-icmp } jump q", "ip ip6 icmp udp ipv6-icmp E"},
		{"meta l4proto != tcp jump q", "ip ip6 !tcp E"},
		{"meta l4proto != { 0-16, 18-255 } jump q", "ip ip6 udp"},
		{"th dport 53 jump q", "ip ip6 tcp udp dccp sctp udplite 53"},
		{"ip protocol udp jump q", "ip udp"},
		{"ip saddr 192.0.2.1 udp dport 53 jump q", "ip udp 53"},
		{"meta nfproto ipv6 udp dport 53 jump q", "ip6 udp 53"},
		{"icmp type echo-request jump q", "ip icmp"},
		{"icmp type { echo-request, time-exceeded } jump q", "ip icmp E"},
		{"icmp type echo-request icmp code 0 jump q", "ip icmp E"},
		{"icmp id 7 jump q", "ip icmp"},
		{"icmpv6 type { echo-request, nd-neighbor-solicit } jump q", "ip6 ipv6-icmp"},
		{"ct state new jump q", "ip ip6"},
		{"ct state { new, related } jump q", "ip ip6 E"},
		{"ct state new udp dport 53 jump q", "ip ip6 udp 53"},
		{"ct state != { established, related } jump q", "ip ip6"},
		{"ct state established,related accept; jump q", "ip ip6"},
		{"icmp type { destination-unreachable, time-exceeded, parameter-problem, redirect, source-quench } accept; meta l4proto icmp jump q", "ip ip6 icmp"},
		{"meta l4proto . th dport { udp . 53, udplite . 853 } jump q", "ip ip6 udp udplite 53 853"},
		{"meta l4proto . th dport { udp . 1000-2000, tcp . 80 } jump q", "ip ip6 tcp udp 80 1000-2000"},
		{"udp dport @ports jump q", "ip ip6 udp 5000-5010"},
		{"udp dport @learnt jump q", "ip ip6 udp"},
		{"udp dport @seen jump q", "ip ip6 udp"},
		{"udp dport vmap { 53 : jump q, 54 : drop }", "ip ip6 udp 53-54"},
		{"meta l4proto != udp accept; jump q", "ip ip6 udp"},
		{"meta mark & 0xff == 53 jump q", "ip ip6 E"},
		{"meta l4proto udp th dport & 0xff00 == 0x3500 jump q", "ip ip6 udp"},
		{"@th,16,16 53 jump q", "ip ip6 tcp udp dccp sctp udplite 53"},
	}
	for _, test := range tests {
		t.Run("", func(t *testing.T) {
			testkit.Namespace(t)
			run(t, `table inet t {
				set ports { type inet_service; flags interval; elements = { 5000-5010 }; }
				set learnt { type inet_service; flags timeout; elements = { 53 timeout 1h }; }
				set seen { type inet_service; size 100; elements = { 53 }; }
				chain learn { udp dport 99 add @seen { udp sport }
}
				chain q { }
				chain output { type filter hook output priority 0; `+test.rules+`; }
			}`, "nft", "-f", "-")
			addQueue(t, nftables.TableFamilyINet, "t", "q", 0, words(1))
			q := queueOf(t, read(t), 1)
			if got := selectionsText(q.Reaches[0].Packets); got != test.want {
				t.Errorf("%s: %q, want %q", test.rules, got, test.want)
			}
		})
	}
}

func TestContradictionReachesNothing(t *testing.T) {
	r := analyse(model(baseChain(vocabulary.HookOutput, 0, jump("c", udp)), userChain("c", queue(1, tcp))), tracked, true)
	if q := queueOf(t, r, 1); q.Exposure != NotExposed || len(q.Reaches[0].Packets) != 0 {
		t.Errorf("%s by %v, want no packets", q.Exposure, q.Reaches)
	}
}

func TestZones(t *testing.T) {
	testkit.Namespace(t)
	run(t, `table inet t {
		map zones { typeof iifname : ct zone; }
		chain prerouting { type filter hook prerouting priority raw;
			iifname "a" ct zone set 5
			iifname "b" ct original zone set 6
			iifname "c" ct zone set iifname map @zones
			iifname "d" ct zone set 0
		}
	}`, "nft", "-f", "-")
	commands(t, `
		iptables-legacy -t raw -A PREROUTING -i e -j CT --zone 7
		iptables-legacy -t raw -A PREROUTING -i f -j CT --zone-reply 8
		iptables-legacy -t raw -A PREROUTING -i g -j CT --zone mark`)
	var got []string
	for _, z := range read(t).Zones {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%d %v %s", z.ID, z.Computed, z.Direction)))
	}
	slices.Sort(got)
	if want := []string{"0 true", "0 true", "5 false", "6 false original", "7 false", "8 false reply"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestComments(t *testing.T) {
	testkit.Namespace(t)
	run(t, `table inet t { chain q { }; chain c { type filter hook output priority 0; udp dport 53 jump q comment "here"; }; }`, "nft", "-f", "-")
	addQueue(t, nftables.TableFamilyINet, "t", "q", 0, words(1))
	for b, want := range map[string]string{
		"": "", "\x00": "", "\x00\x05here\x00": "here", "\x01\x02ab\x00\x02x\x00": "x", "\x00\x09here\x00": "", "\x01\x00": "",
	} {
		if got := commentOf([]byte(b)); got != want {
			t.Errorf("%q: %q, want %q", b, got, want)
		}
	}
}

func TestProtocolText(t *testing.T) {
	for _, p := range []Protocol{unix.IPPROTO_UDP, unix.IPPROTO_GRE, 99} {
		text, err := json.Marshal([]Protocol{p})
		var back []Protocol
		if err := json.Unmarshal(text, &back); err != nil || len(back) != 1 || back[0] != p {
			t.Errorf("%s: %v, %v", text, back, err)
		}
		if err != nil {
			t.Error(err)
		}
	}
	var p Protocol
	if err := p.UnmarshalText([]byte("nothing")); err == nil {
		t.Error("an unknown name was read")
	}
}

func TestPorts(t *testing.T) {
	merged := vocabulary.MergePorts([]vocabulary.PortRange{vocabulary.Ports(5, 9), vocabulary.Ports(1, 2), vocabulary.Ports(3, 3), vocabulary.Ports(9, 12), vocabulary.Ports(65535, 65535)})
	if want := []vocabulary.PortRange{vocabulary.Ports(1, 3), vocabulary.Ports(5, 12), vocabulary.Ports(65535, 65535)}; !slices.Equal(merged, want) {
		t.Errorf("%v, want %v", merged, want)
	}
	s := portSet(merged)
	if got := s.complement().complement(); !slices.Equal(got, s) || s.count() != 12 {
		t.Errorf("%v, %d", got, s.count())
	}
	if got := (portSet{}).complement(); got.count() != 65536 || got.complement() == nil || got.complement().count() != 0 {
		t.Errorf("%v", got)
	}
	if got := s.and(portSet{vocabulary.Ports(2, 6)}); !slices.Equal(got, portSet{vocabulary.Ports(2, 3), vocabulary.Ports(5, 6)}) {
		t.Errorf("%v", got)
	}
}
