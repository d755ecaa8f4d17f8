"""What needs the database: connect your own resources here. `create_app` calls `init_app`."""

from flask import Flask

from app import items, sqldb, typed_views


def init_app(app: Flask) -> None:
    sqldb.init_app(app)
    typed_views.init_app(app)

    app.register_blueprint(items.bp)
