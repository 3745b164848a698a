"""The OpenAPI document: Schemathesis asks what it says, and holds every answer to it."""

from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import given
from hypothesis.errors import Unsatisfiable
from hypothesis.stateful import run_state_machine_as_test
from pydantic import BaseModel
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation import GenerationMode

from permalog import Event, Owner
from permalog_server import documents
from service import People, Site, settle

load_all_checks()
# Not every rule can be put into a schema: whether an action is in the catalogue, or a cursor of this log.
EXCLUDED = CHECKS.get_by_names(["positive_data_acceptance"])
QUICK = hypothesis.settings(
    max_examples=25, deadline=None, database=None, derandomize=True, print_blob=False,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much],
)  # fmt: skip


@pytest.fixture(scope="module")
def everybody(site: Site) -> People:
    return settle(site.accounts)


@pytest.fixture(scope="module")
def schema(site: Site) -> Any:
    return schemathesis.openapi.from_url(f"{site.url}/openapi.json")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_as_documented(schema: Any, everybody: People, mode: GenerationMode) -> None:
    asked: set[str] = set()
    for found in schema.get_all_operations():
        operation = found.ok()

        @QUICK
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            asked.add(case.operation.label)
            case.call_and_validate(headers=known(case, everybody), excluded_checks=EXCLUDED)

        try:
            ask()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, "nothing can be wrong with a route that takes nothing"
        asked.add(operation.label)
    assert len(asked) == schema.statistic.operations.total


def known(case: Any, people: People) -> dict[str, str]:
    """The token of somebody who may; what asks for an organisation asks for theirs."""
    is_good = case.meta is None or case.meta.generation.mode is GenerationMode.POSITIVE
    if is_good and "organization_id" in (case.path_parameters or {}):
        case.path_parameters["organization_id"] = str(people.organization)
    if case.operation.path.endswith("/tail") and str((case.query or {}).get("wait", 1)).isdigit():
        case.query = {**(case.query or {}), "wait": 0}  # nobody waits for an hour to see that it ends
    writing = case.operation.label.startswith("POST") and case.operation.path.endswith("/events")
    return {"Authorization": f"Bearer {people.token('service' if writing else 'owner')}"}


def test_answers_lead_to_further_questions(schema: Any, everybody: People) -> None:
    """Stateful: ids and cursors of answers go into the next requests."""

    class Conversation(schema.as_state_machine()):
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": known(case, everybody)}

        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            case.validate_response(response, excluded_checks=EXCLUDED, headers=known(case, everybody))

    settings = hypothesis.settings(QUICK, max_examples=10, stateful_step_count=8)
    run_state_machine_as_test(Conversation, settings=settings)


def test_every_answer_has_an_example(site: Site) -> None:
    document = site.app.openapi()
    models = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, answer in operation["responses"].items():
                for kind, content in answer.get("content", {}).items():
                    name = content["schema"].get("$ref", content["schema"].get("items", {}).get("$ref", ""))
                    model = models.get(name.rpartition("/")[2], {})
                    if kind != "text/html" and content["schema"].get("format") != "binary":
                        assert "example" in content or "example" in model, f"{method} {path} {status} {kind}"


def test_the_examples_are_what_their_schemas_say() -> None:
    for model in vars(documents).values():
        if isinstance(model, type) and issubclass(model, BaseModel) and model is not BaseModel:
            example = model.model_json_schema().get("example")
            if example is not None:
                assert model.model_validate(example, strict=True).model_dump(exclude_unset=True) == example
    batch = documents.BATCH_BODY["requestBody"]["content"]["application/json"]["example"]
    assert Event(owner=Owner.user("u_1"), **batch["events"][0])
    documents.ExportRequest.model_validate(
        documents.EXPORT_BODY["requestBody"]["content"]["application/json"]["example"]
    )
