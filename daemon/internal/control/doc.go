// Package control exists so that a running daemon can be asked and told: HTTP over a
// unix socket that root and the daemon's own user alone may use.
//
//	documents.go  what is said, as JSON (docs/schema/verdictd-status.json and others)
//	listen.go     the socket: who may have its path
//	crowd.go      what askers may take of the daemon
//	server.go     the daemon's end: GET /v1/status, /v1/config, /v1/audit, POST /v1/reload
//	client.go     the commands' end, with errors that say what to do
//
// A request that a daemon cannot answer has an [Error] as its document.
package control
