"""Which path leads to which view."""

from django.contrib.staticfiles.views import serve
from django.urls import path, re_path

from . import views

urlpatterns = [
    path("", views.convert),
    path("size", views.size),
    # In production a web server serves these files; the example has to look right without one.
    re_path(r"^static/(?P<path>.+)$", serve, {"insecure": True}),
]
