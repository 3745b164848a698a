"""The vocabulary of the tests' own application."""

from permalog import Action, Catalogue

ACTIONS = Catalogue(
    [
        Action("thing.made", "thing", "Thing made"),
        Action("thing.changed", "thing", "Thing changed"),
        Action("thing.lost", "thing", "Thing lost", retired=True),
    ]
)
