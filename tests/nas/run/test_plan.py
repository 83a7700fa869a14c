"""What a search is planned with: the held-out photographs of a study that an earlier version began."""

import pytest

from srnas.nas.images.photos import embedded_photos
from srnas.nas.run.plan import plan_search
from srnas.nas.run.request import SearchRequest
from srnas.nas.study.stored import StoredStudy
from srnas.search_space import InputError


@pytest.fixture
def embedded_request(workspace, space_file):
    return SearchRequest(workspace=workspace, space=str(space_file), device="cpu")


def begin(plan, validation):
    """Keep the settings of a plan, as if its study had been begun with other held-out photographs."""
    stored = StoredStudy.create(plan.url, plan.settings.name)
    stored.keep_settings(plan.settings.model_copy(update={"validation": validation}))


def test_a_new_study_is_judged_by_the_embedded_crops(embedded_request):
    plan = plan_search(embedded_request)
    assert (plan.known, plan.photos[1].name) == (None, "embedded-crops")
    assert plan.settings.validation == embedded_photos("held-out").described


@pytest.mark.parametrize("as_worker", [False, True])
def test_a_study_of_before_is_judged_by_the_photographs_of_then(embedded_request, as_worker):
    before = embedded_photos("held-out-before").described
    assert before.startswith("embedded-held-out@")
    plan = plan_search(embedded_request)
    begin(plan, before)
    again = plan_search(embedded_request, as_worker=as_worker)
    assert (again.photos[1].name, again.settings.validation) == ("embedded-held-out", before)
    assert again.settings.protocol != plan.settings.protocol
    other = plan_search(embedded_request.changed(study="another"))
    assert other.photos[1].name == "embedded-crops"


def test_a_study_of_other_photographs_is_not_extended_by_the_embedded_ones(embedded_request):
    begin(plan_search(embedded_request), "embedded-held-out@000000000000 (2 photographs)")
    with pytest.raises(InputError, match="validation: embedded-held-out@000000000000 .* -> embedded-crops@"):
        plan_search(embedded_request)


def test_a_study_of_another_rule_of_rates_is_not_extended(embedded_request):
    plan = plan_search(embedded_request)
    StoredStudy.create(plan.url, plan.settings.name).keep_settings(plan.settings.with_training(depth_rule=1))
    with pytest.raises(InputError, match="started with rule 1"):
        plan_search(embedded_request)
    assert plan_search(embedded_request.changed(study="another")).known is None


def test_a_study_that_cannot_be_called_so(embedded_request):
    for name in ("a b", "../a", "x" * 300):
        with pytest.raises(InputError, match="a study's name must be letters, digits"):
            plan_search(embedded_request.changed(study=name))
