"""An avatar in a web page on this machine: what to show (session), and how it gets there (server, page.html)."""
