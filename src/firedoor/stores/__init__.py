"""Where counters and switches live: in this process, on this host, or shared by a fleet."""
