"""The application's side of WSGI (PEP 3333): environ, input, start_response. No socket is touched here."""
