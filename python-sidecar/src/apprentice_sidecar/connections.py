"""What holds for the connections of every server of ours."""

#: How long a connection may be idle. Longer than any client keeps one (Node's fetch 4 s, httpx 5 s): where
#: the server is the one that closes it, a request that is on its way at that moment fails.
KEEP_ALIVE_SECONDS = 120
