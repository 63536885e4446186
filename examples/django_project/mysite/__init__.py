"""A unit converter in Django: ``cd examples/django_project && gunicorn mysite.wsgi``."""
