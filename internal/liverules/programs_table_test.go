package liverules

const noQueue = NotExposed // no packet can come to such a rule, or none that can clash

// Rule sets that iptables loads, through nftables and into legacy tables alike.
var iptablesPrograms = []program{
	{name: "docker", tracked: [2]Answer{Yes, No}, rewrites: 2, sources: 2, placed: []placed{
		{how: "-t raw -I PREROUTING 1 -p udp", hooks: "prerouting -300", exposure: NotExposed},
		{how: "-t filter -I DOCKER-USER 1 -p udp", hooks: "forward 0", exposure: Exposed, rewrites: 2},
		// Behind DOCKER-USER's unconditional return.
		{how: "-t filter -A DOCKER-USER -p udp", exposure: noQueue},
		{how: "-t nat -I DOCKER 2 -p udp", hooks: "output -100, prerouting -100", exposure: Exposed, rewrites: 2},
		{how: "-t filter -A DOCKER-CT -p udp", hooks: "forward 0", exposure: Exposed, rewrites: 2},
		{how: "-t filter -A DOCKER -p udp", hooks: "forward 0", exposure: Exposed, rewrites: 2},
		{how: "-t filter -I FORWARD 1 -p tcp", hooks: "forward 0", exposure: NotExposed, rewrites: 2},
		{how: "-t filter -I DOCKER-CT 1 -m conntrack --ctstate ESTABLISHED", hooks: "forward 0", exposure: NotExposed, rewrites: 2},
		// The first packet of a related flow is not confirmed.
		{how: "-t filter -I DOCKER-CT 1 -m conntrack --ctstate RELATED,ESTABLISHED", hooks: "forward 0", exposure: Exposed, rewrites: 2},
		{how: "-t mangle -A POSTROUTING -p udp", hooks: "postrouting -150", exposure: Exposed, rewrites: 2},
		{how: "-t mangle -A OUTPUT -p udp", hooks: "output -150", exposure: Exposed},
		{how: "-t nat -A POSTROUTING -p udp", hooks: "postrouting 100", exposure: Exposed, rewrites: 2},
		{how: "-t filter -I DOCKER-USER 1 -m conntrack --ctstate INVALID", hooks: "forward 0", exposure: NotExposed, rewrites: 2},
	}},
	{name: "kube-proxy", tracked: [2]Answer{Yes, No}, rewrites: 2, sources: 1, placed: []placed{
		{how: "-t filter -I FORWARD 1 -p udp", hooks: "forward 0", exposure: Exposed, rewrites: 2},
		{how: "-t filter -A FORWARD -p udp", hooks: "forward 0", exposure: Exposed, rewrites: 2},
		{how: "-t filter -I KUBE-SERVICES 1 -p udp", hooks: "forward 0, output 0", exposure: Exposed, rewrites: 2},
		{how: "-t filter -A KUBE-FIREWALL -p udp", hooks: "input 0, output 0", exposure: Exposed, rewrites: 2},
		// A new flow's packets are in the virtual state DNAT too.
		{how: "-t filter -I KUBE-FIREWALL 1 -p udp -m conntrack --ctstate RELATED,ESTABLISHED,DNAT", hooks: "input 0, output 0", exposure: Exposed, rewrites: 2},
		{how: "-t filter -I KUBE-FIREWALL 1 -p udp -m conntrack --ctstate ESTABLISHED,DNAT", hooks: "input 0, output 0", exposure: Exposed, rewrites: 2},
		{how: "-t filter -I KUBE-FORWARD 1 -p udp -m conntrack --ctstate ESTABLISHED", hooks: "forward 0", exposure: NotExposed, rewrites: 2},
		{how: "-t nat -I KUBE-SVC-TCOU7JCQXEZGVUNU 1 -p udp", hooks: "output -100, prerouting -100", exposure: Exposed, rewrites: 2},
		// Behind the unconditional MASQUERADE.
		{how: "-t nat -A KUBE-POSTROUTING -p udp", exposure: noQueue},
		{how: "-t nat -I KUBE-MARK-MASQ 1 -p udp", hooks: "output -100, prerouting -100", exposure: Exposed, rewrites: 2},
		{how: "-t mangle -A KUBE-PROXY-CANARY -p udp", exposure: noQueue},
		{how: "-t mangle -A OUTPUT -p udp", hooks: "output -150", exposure: Exposed},
		{how: "-t raw -A OUTPUT -p udp", hooks: "output -300", exposure: NotExposed},
	}},
	{name: "node-local-dns", tracked: [2]Answer{Yes, No}, exempts: 4, placed: []placed{
		{how: "-t mangle -A OUTPUT -d 203.0.113.53/32 -p udp -m udp --dport 53", hooks: "output -150", exposure: NotExposed, untracked: Yes},
		{how: "-t mangle -A OUTPUT -p udp -m udp --dport 53", hooks: "output -150", exposure: Exposed, untracked: Unknown},
		{how: "-t filter -I INPUT 1 -d 203.0.113.53/32 -p udp -m udp --dport 53", hooks: "input 0", exposure: NotExposed, untracked: Yes},
		{how: "-t filter -A INPUT -p udp", hooks: "input 0", exposure: Exposed, untracked: Unknown},
		{how: "-t filter -A FORWARD -p udp", hooks: "forward 0", exposure: Exposed, untracked: Unknown},
		{how: "-t filter -I OUTPUT 1 -s 203.0.113.53/32 -p udp -m udp --sport 53", hooks: "output 0", exposure: NotExposed, untracked: Yes},
		{how: "-t filter -A INPUT -m conntrack --ctstate UNTRACKED", hooks: "input 0", exposure: NotExposed, untracked: Unknown},
	}},
	{name: "ufw", tracked: [2]Answer{Yes, No}, placed: []placed{
		{how: "-I INPUT 1 -p udp", hooks: "input 0", exposure: Exposed},
		{how: "-A ufw-user-input -p udp", hooks: "input 0", exposure: Exposed},
		// Behind an unconditional drop.
		{how: "-A ufw-not-local -p udp", exposure: noQueue},
		// Behind a rule that accepts just these.
		{how: "-I ufw-before-input 3 -p udp -m conntrack --ctstate RELATED,ESTABLISHED", hooks: "input 0", exposure: NotExposed},
		{how: "-I ufw-user-limit 1", hooks: "input 0", exposure: NotExposed}, // TCP alone comes there
		{how: "-A ufw-user-output -p udp", hooks: "output 0", exposure: Exposed},
		{how: "-A ufw-after-logging-input -p udp", hooks: "input 0", exposure: Exposed},
		{how: "-A ufw-before-forward -p udp", hooks: "forward 0", exposure: Exposed},
	}},
	{name: "wg-quick", tracked: [2]Answer{Yes, No}, placed: []placed{
		{how: "-t mangle -I PREROUTING 1 -p udp", hooks: "prerouting -150", exposure: Exposed},
		{how: "-t raw -A PREROUTING -p udp", hooks: "prerouting -300", exposure: NotExposed},
		{how: "-t mangle -A POSTROUTING -p udp -m mark --mark 0xca6c", hooks: "postrouting -150", exposure: Exposed},
		{how: "-t filter -A INPUT -p udp --dport 51820", hooks: "input 0", exposure: Exposed},
	}},
	{name: "calico", before: calicoSets, tracked: [2]Answer{Yes, No}, rewrites: 1, sources: 1, placed: []placed{
		{how: "-t raw -A cali-PREROUTING -p udp", hooks: "prerouting -300", exposure: NotExposed},
		{how: "-t filter -I cali-FORWARD 1 -p udp", hooks: "forward 0", exposure: Exposed, rewrites: 1},
		// Behind the last, unconditional drop.
		{how: "-t filter -A cali-fw-cali12345678901 -p udp", exposure: noQueue},
		{how: "-t filter -I cali-fw-cali12345678901 3 -p udp", hooks: "forward 0, input 0", exposure: Exposed, rewrites: 1},
		{how: "-t filter -I cali-pri-kns.default 1 -p udp", hooks: "forward 0", exposure: Exposed, rewrites: 1},
		{how: "-t mangle -A cali-PREROUTING -p udp", hooks: "prerouting -150", exposure: Exposed},
		{how: "-t filter -A cali-INPUT -p udp", hooks: "input 0", exposure: Exposed, rewrites: 1},
		{how: "-t mangle -I PREROUTING 1 -m conntrack --ctstate INVALID", hooks: "prerouting -150", exposure: NotExposed},
	}},
	{name: "cilium", tracked: [2]Answer{Yes, No}, rewrites: 2, sources: 4, exempts: 4, placed: []placed{
		{how: "-t mangle -I CILIUM_PRE_mangle 1 -p udp", hooks: "prerouting -150", exposure: Exposed, untracked: Unknown, rewrites: 2},
		{how: "-t mangle -A PREROUTING -p udp -m mark --mark 0x200/0xf00", hooks: "prerouting -150", exposure: Exposed, untracked: Unknown, rewrites: 2},
		{how: "-t raw -A CILIUM_PRE_raw -p udp", hooks: "prerouting -300", exposure: NotExposed, untracked: Unknown},
		{how: "-t filter -A CILIUM_OUTPUT -p udp", hooks: "output 0", exposure: Exposed, untracked: Unknown},
		{how: "-t filter -A CILIUM_INPUT -p udp", hooks: "input 0", exposure: Exposed, untracked: Unknown, rewrites: 2},
		{how: "-t nat -I CILIUM_POST_nat 2 -p udp", hooks: "postrouting 100", exposure: Exposed, untracked: Unknown, rewrites: 2},
	}},
	{name: "fail2ban", tracked: [2]Answer{No, No}, placed: []placed{
		{how: "-I f2b-named 1 -p udp", hooks: "input 0", exposure: NotExposed},
		{how: "-A INPUT -p udp", hooks: "input 0", exposure: NotExposed},
		{how: "-t mangle -A OUTPUT -p udp", hooks: "output -150", exposure: NotExposed},
	}},
	{name: "libvirt", tracked: [2]Answer{Yes, No}, sources: 3, placed: []placed{
		{how: "-t filter -I FORWARD 1 -p udp", hooks: "forward 0", exposure: Exposed},
		{how: "-t filter -A LIBVIRT_FWI -p udp", hooks: "forward 0", exposure: Exposed},
		{how: "-t nat -A LIBVIRT_PRT -p udp", hooks: "postrouting 100", exposure: Exposed},
		{how: "-t mangle -I LIBVIRT_PRT 1 -p udp", hooks: "postrouting -150", exposure: Exposed},
		{how: "-t filter -I LIBVIRT_INP 1 -p udp --dport 53", hooks: "input 0", exposure: Exposed},
		{how: "-t filter -I LIBVIRT_FWX 1 -m conntrack --ctstate ESTABLISHED,UNTRACKED", hooks: "forward 0", exposure: NotExposed},
	}},
}

const calicoSets = `
	ipset create cali40masq-ipam-pools hash:net
	ipset create cali40all-ipam-pools hash:net
	ipset create cali40all-vxlan-net hash:net`

// Tables of the queues' own, by priority: before, between and behind the program's.
const queueTables = `
table inet queues {
	chain raw { type filter hook prerouting priority -301; }
	chain mangle { type filter hook prerouting priority -151; }
	chain postdnat { type filter hook prerouting priority -80; }
	chain forward { type filter hook forward priority -111; }
	chain forwarded { type filter hook forward priority 11; }
	chain input { type filter hook input priority -2; }
	chain received { type filter hook input priority 11; }
	chain output { type filter hook output priority -105; }
	chain sent { type filter hook output priority -80; }
	chain postrouting { type filter hook postrouting priority 111; }
}
`

var nftPrograms = []program{
	{name: "kube-proxy", own: queueTables, tracked: [2]Answer{Yes, No}, rewrites: 2, sources: 1, placed: []placed{
		{how: "insert rule ip kube-proxy service-NWBZK7IH-kube-system/kube-dns/udp/dns meta l4proto udp QUEUE", hooks: "output -100, prerouting -100", exposure: Exposed, rewrites: 2},
		{how: "add rule ip kube-proxy cluster-ips-check meta l4proto udp QUEUE", hooks: "forward -110, output -90", exposure: Exposed, rewrites: 2},
		{how: "insert rule ip kube-proxy endpoint-A-198.51.100.2/53 meta l4proto udp QUEUE", hooks: "output -100, prerouting -100", exposure: Exposed, rewrites: 2},
		{how: "insert rule ip kube-proxy firewall-check meta l4proto udp QUEUE", hooks: "output -110, prerouting -110", exposure: Exposed},
		// Behind the unconditional masquerade.
		{how: "add rule ip kube-proxy masquerading meta l4proto udp QUEUE", exposure: noQueue},
		// By the map of services without endpoints alone.
		{how: "insert rule ip kube-proxy reject-chain meta l4proto udp QUEUE", hooks: "forward -110, input -110, output -110", exposure: Exposed, rewrites: 2},
		{how: "insert rule ip kube-proxy mark-for-masquerade meta l4proto udp QUEUE", hooks: "output -100, prerouting -100", exposure: Exposed, rewrites: 2},
		{how: "add rule inet queues raw meta l4proto udp QUEUE", hooks: "prerouting -301", exposure: NotExposed},
		{how: "add rule inet queues mangle meta l4proto udp QUEUE", hooks: "prerouting -151", exposure: Exposed},
		{how: "add rule inet queues postdnat meta l4proto udp QUEUE", hooks: "prerouting -80", exposure: Exposed, rewrites: 2},
		{how: "add rule inet queues output meta l4proto udp QUEUE", hooks: "output -105", exposure: Exposed},
		{how: "add rule inet queues sent meta l4proto udp QUEUE", hooks: "output -80", exposure: Exposed, rewrites: 2},
		{how: "add rule inet queues sent meta nfproto ipv6 QUEUE", hooks: "output -80", exposure: NotExposed},
	}},
	{name: "firewalld", own: queueTables, tracked: [2]Answer{Yes, Yes}, rewrites: 2, sources: 1, placed: []placed{
		{how: "insert rule inet firewalld filter_INPUT meta l4proto udp QUEUE", hooks: "input 10", exposure: Exposed, rewrites: 2},
		{how: "insert rule inet firewalld filter_IN_public_allow meta l4proto udp QUEUE", hooks: "input 10", exposure: Exposed, rewrites: 2},
		// Behind the last, unconditional reject.
		{how: "add rule inet firewalld filter_INPUT meta l4proto udp QUEUE", exposure: noQueue},
		// Behind the rule that accepts just these; the first is a jump to what was queue 1.
		{how: "add rule inet firewalld filter_INPUT index 1 ct state { established, related } QUEUE", hooks: "input 10", exposure: NotExposed, rewrites: 2},
		{how: "add rule inet firewalld filter_OUTPUT meta l4proto udp QUEUE", hooks: "output 10", exposure: Exposed},
		{how: "insert rule inet firewalld filter_FORWARD ct state invalid,untracked QUEUE", hooks: "forward 10", exposure: NotExposed, rewrites: 2},
		{how: "insert rule inet firewalld nat_PRE_public_allow meta l4proto udp QUEUE", hooks: "prerouting -90", exposure: Exposed, rewrites: 2},
		{how: "insert rule inet firewalld mangle_PRE_public meta l4proto udp QUEUE", hooks: "prerouting -140", exposure: Exposed},
		{how: "add rule inet queues raw meta l4proto udp QUEUE", hooks: "prerouting -301", exposure: NotExposed},
		{how: "add rule inet queues input meta nfproto ipv6 QUEUE", hooks: "input -2", exposure: Exposed},
		{how: "add rule inet queues received meta l4proto udp QUEUE", hooks: "input 11", exposure: Exposed, rewrites: 2},
		{how: "add rule inet queues postrouting meta l4proto udp QUEUE", hooks: "postrouting 111", exposure: Exposed, rewrites: 2},
	}},
	{name: "fw4", own: queueTables, tracked: [2]Answer{Yes, Yes}, rewrites: 1, sources: 1, placed: []placed{
		{how: "insert rule inet fw4 input_wan meta l4proto udp QUEUE", hooks: "input 0", exposure: Exposed, rewrites: 1},
		{how: "insert rule inet fw4 handle_reject meta l4proto udp QUEUE", hooks: "forward 0, input 0", exposure: Exposed, rewrites: 1},
		{how: "insert rule inet fw4 accept_to_wan meta l4proto udp QUEUE", hooks: "forward 0, output 0", exposure: Exposed, rewrites: 1},
		{how: "add rule inet fw4 raw_prerouting meta l4proto udp QUEUE", hooks: "prerouting -300", exposure: NotExposed},
		{how: "add rule inet fw4 mangle_output meta l4proto udp QUEUE", hooks: "output -150", exposure: Exposed},
		{how: "add rule inet fw4 mangle_forward meta l4proto udp QUEUE", hooks: "forward -150", exposure: Exposed, rewrites: 1},
		// TCP alone is taken there.
		{how: "insert rule inet fw4 syn_flood QUEUE", hooks: "input 0", exposure: NotExposed, rewrites: 1},
		{how: "add rule inet fw4 syn_flood QUEUE", exposure: noQueue},
		// Behind a jump to a chain from which no packet comes back.
		{how: "add rule inet fw4 forward meta l4proto udp QUEUE", exposure: noQueue},
		{how: "insert rule inet fw4 dstnat_wan meta l4proto udp QUEUE", hooks: "prerouting -100", exposure: Exposed, rewrites: 1},
		{how: "add rule inet queues forwarded meta l4proto udp QUEUE", hooks: "forward 11", exposure: Exposed, rewrites: 1},
		{how: "add rule inet queues mangle meta l4proto udp QUEUE", hooks: "prerouting -151", exposure: Exposed},
	}},
	{name: "wg-quick", own: queueTables, tracked: [2]Answer{Yes, No}, placed: []placed{
		{how: "insert rule ip wg-quick-wg0 premangle meta l4proto udp QUEUE", hooks: "prerouting -150", exposure: Exposed},
		{how: "add rule ip wg-quick-wg0 preraw meta l4proto udp QUEUE", hooks: "prerouting -300", exposure: NotExposed},
		{how: "add rule ip wg-quick-wg0 postmangle meta l4proto udp QUEUE", hooks: "postrouting -150", exposure: Exposed},
		{how: "add rule inet queues raw meta l4proto udp QUEUE", hooks: "prerouting -301", exposure: NotExposed},
		{how: "add rule inet queues input udp dport 51820 QUEUE", hooks: "input -2", exposure: Exposed},
	}},
	{name: "fail2ban", own: queueTables, tracked: [2]Answer{No, No}, placed: []placed{
		{how: "insert rule inet f2b-table f2b-chain meta l4proto udp QUEUE", hooks: "input -1", exposure: NotExposed},
		{how: "add rule inet queues input meta l4proto udp QUEUE", hooks: "input -2", exposure: NotExposed},
		{how: "add rule inet queues received meta l4proto udp QUEUE", hooks: "input 11", exposure: NotExposed},
	}},
	{name: "libvirt", before: "ip link add virbr0 type bridge", own: queueTables, tracked: [2]Answer{Yes, No}, sources: 3, placed: []placed{
		{how: "insert rule ip libvirt_network forward meta l4proto udp QUEUE", hooks: "forward 0", exposure: Exposed},
		{how: "add rule ip libvirt_network guest_input meta l4proto udp QUEUE", hooks: "forward 0", exposure: Exposed},
		{how: "insert rule ip libvirt_network guest_nat meta l4proto udp QUEUE", hooks: "postrouting 100", exposure: Exposed},
		{how: "add rule inet queues forward meta l4proto udp QUEUE", hooks: "forward -111", exposure: Exposed},
		{how: "add rule inet queues postrouting meta l4proto udp QUEUE", hooks: "postrouting 111", exposure: Exposed},
	}},
}
