// Package convert makes a policy of other programs' rules, because whoever comes from OpenGFW or Suricata has hundreds
// of them: it is `verdictd import`.
//
// A rule is taken over where this language says the same, and else it is named with the reason. Differences that all
// rules of a kind share, such as that names match in any case, are notes that name the lines.
//
// # Order
//
// A rule on a name of TCP is pending until the name is known, and a rule that is pending ends the search. The other
// programs go on to the next rule then. So what needs no name of TCP stands before what does: in both programs a rule
// on headers alone decides about a flow's first packet, before there is a name. Where a rule is both (an or, a question
// of DNS over UDP and over TCP), it becomes two.
package convert
