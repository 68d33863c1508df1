"""``report.html``: one file that needs no network, for a browser, a notebook or a printer."""
