"""The HTTP side: routes, security and the shapes of answers."""
