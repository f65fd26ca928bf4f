# Prints what of the demo's promises demo.json breaks, a line each. The lab
# judges its runs itself; this says the same from the document alone, in other
# words, and also that the runs were there.

def name: "\(.placement) \(.family), guard \(.guard), fan-out \(.fanout), nat \(.nat), \(.traffic), \(.program) \(.backend), events \(.events)";
def exposed: .placement | IN("output", "postrouting", "input", "forward", "verdict3");
# What a clash of these costs is the kernel's affair, and shown.
def costly: .guard == "off" and (.traffic != "udp" or .nat == "backends");
def clashes: (.clash_resolve // 0) + .insert_failed - (.chain_toolong // 0);
# One thread sends the replies, and under numgen they take different queues, which have no common order.
# Nor have the ways to two backends.
def disorder: (if costly and .nat == "backends" then 0 else .reordered end) + (if .fanout == "numgen" then 0 else .echo.reordered // 0 end);
def must($ok; $what): if $ok then empty else "\(name): \($what)" end;

(.runs | map(select(.placement == "none")) | group_by(.family) | map({(.[0].family): (map(.clashes_per_1000) | max)}) | add) as $without
| (.runs[]
  | must(.error == null; "failed: \(.error)"),
    must(.lost == 0 or .guard == "drop" or costly; "\(.lost) lost"),
    must(.split == 0 or .guard == "off"; "\(.split) flows split over backends"),
    must(.expired + .unguarded == 0; "\(.expired) expired, \(.unguarded) unguarded"),
    (select(exposed and .guard == "hold") | must(.held > 0; "the gate held nothing")),
    must(.duplicated + disorder + .corrupted == 0; "\(.duplicated) duplicated, \(disorder) reordered, \(.corrupted) corrupted"),
    must(.sources_changed == 0 or (.guard == "off" and .nat == "masquerade"); "\(.sources_changed) packets not from the port of their flow"),
    must(.nat != "masquerade" or (.received_from | length) == 1; "arrived from \(.received_from), and not from the router alone"),
    (select(exposed and .guard == "off") | (.sent - .flows) as $possible
      | must(clashes * 2 >= $possible; "only \(clashes) clashes of \($possible): does the queue see the packets?")),
    (select(.guard != "off") | must(.clashes_per_1000 == 0; "\(.clashes_per_1000) clashes per 1,000")),
    (select(.placement | IN("pre-conntrack", "notrack")) | must(.clashes_per_1000 <= $without[.family] + 2; "\(.clashes_per_1000) clashes per 1,000, and \($without[.family]) without a queue"))
  ),
  # What has to be among the runs.
  ((["output", "postrouting", "input", "verdict3"] | .[]) as $placement
  | ("ipv4", "ipv6") as $family
  | ("off", "hold") as $guard
  | select(any(.runs[]; .placement == $placement and .family == $family and .guard == $guard) | not)
  | "no run of \($placement) \($family) with guard \($guard)"),
  (("udp", "both-ends", "icmp") as $traffic
  | ("output", "forward") as $placement
  | ("ipv4", "ipv6") as $family
  | ("off", "hold") as $guard
  | select(any(.runs[]; .placement == $placement and .traffic == $traffic and .family == $family and .guard == $guard) | not)
  | "no run of \($placement) \($family) with traffic \($traffic) and guard \($guard)"),
  (("libnetfilter_queue", "go-nfqueue") as $program
  | ("output", "postrouting", "input", "forward") as $placement
  | ("off", "hold") as $guard
  | select(any(.runs[]; .placement == $placement and .program == $program and .guard == $guard) | not)
  | "no run of \($placement) with program \($program) and guard \($guard)"),
  (("none", "masquerade", "backends") as $nat
  | ("ipv4", "ipv6") as $family
  | ("off", "hold") as $guard
  | select(any(.runs[]; .placement == "forward" and .nat == $nat and .family == $family and .guard == $guard) | not)
  | "no run of forward \($family) with nat \($nat) and guard \($guard)"),
  (("output", "postrouting", "verdict3") as $placement
  | ("cpu", "numgen") as $fanout
  | ("ipv4", "ipv6") as $family
  | ("off", "hold") as $guard
  | select(any(.runs[]; .placement == $placement and .fanout == $fanout and .family == $family and .guard == $guard) | not)
  | "no run of \($placement) \($family) with fan-out \($fanout) and guard \($guard)"),
  (("none", "pre-conntrack", "notrack") as $placement
  | select(any(.runs[]; .placement == $placement) | not)
  | "no run of \($placement)"),
  (("mmsg", "gonfqueue") as $backend
  | select(any(.runs[]; .backend == $backend) | not)
  | "no run with backend \($backend)"),
  (select(.schema != 2) | "schema \(.schema): is this check up to date?")
