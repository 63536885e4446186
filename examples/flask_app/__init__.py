"""A guest book in Flask: ``cd examples && gunicorn --threads 4 'flask_app:create_app()'``."""

from flask import Flask

from .pages import pages


def create_app():
    app = Flask(__name__)
    app.register_blueprint(pages)
    return app
