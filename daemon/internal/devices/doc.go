// Package devices follows the names of network interfaces, because packets show numbers:
// links come, go and are renamed while rules speak of names.
//
// The kernel tells of a change when it has happened (rtnetlink(7), RTMGRP_LINK), so that a
// name is known some milliseconds after its link. Where it could not tell of all, as the
// socket's buffer was full, the links are listed again. Alternative names are not names here.
package devices
