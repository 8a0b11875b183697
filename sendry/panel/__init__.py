"""The web panel: one module per screen; pages are made on the server, htmx swaps their parts."""
