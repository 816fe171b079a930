"""The web page and the HTTP API of `actionrnn serve`."""
