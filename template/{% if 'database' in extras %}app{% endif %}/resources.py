"""What needs the database: connect your own resources here. `create_app` calls `init_app`."""

from flask import Flask

from app import contract, database, items, openapi


def init_app(app: Flask) -> None:
    database.init_app(app)
    contract.init_app(app)
    openapi.init_app(app)

    app.register_blueprint(items.bp)
