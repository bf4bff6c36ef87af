package partitionworker

// Serve answers other daemons.
var Serve = serve
