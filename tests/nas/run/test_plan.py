"""What a search is planned with: the held-out photographs of a study that an earlier version began."""

import math

import pytest
import torch

from srnas.nas.images.photos import embedded_photos
from srnas.nas.run.plan import check_workers, plan_search
from srnas.nas.run.request import SearchRequest
from srnas.nas.study.options import Budgets
from srnas.nas.study.stored import StoredStudy
from srnas.profiling import Target
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


def test_a_budget_that_any_tail_or_skip_can_meet_is_not_refused(tmp_path, embedded_request, brief_latency):
    path = tmp_path / "carriers.toml"
    path.write_text('channels = [16]\npositions = 1\ntrunk = ["none", "conv"]\nattention = ["none"]\n')
    with path.open("a") as file:
        file.write('global_skip = ["carriers", "nearest"]\n[defaults]\nlatency_output = [32, 32]\n')
    asked = embedded_request.changed(space=str(path))
    # With the skip that comes first it has 2,596 parameters, with the other one 2,188.
    assert plan_search(asked.changed(budgets=Budgets(max_params_k=2.4, max_latency_ms=1e6)))
    with pytest.raises(InputError, match=r"the smallest do not \(params_k=2.188 > 2\)"):
        plan_search(asked.changed(budgets=Budgets(max_params_k=2.0)))


@pytest.mark.parametrize(
    "given",
    [{"max_latency_ms": math.inf}, {"max_params_k": math.nan}, {"max_train_s": math.inf}, {"learning_rate": math.inf}],
)
def test_what_is_not_finite_cannot_be_stored(given):
    with pytest.raises(InputError, match="finite number"):
        SearchRequest.of(**given)


def test_the_studies_of_all_lengths_can_be_called_so(embedded_request):
    asked = embedded_request.changed(study="x" * 97)
    assert plan_search(asked)
    with pytest.raises(InputError, match=r"at most 100\), but got 'x{97}\.3600'"):
        plan_search(asked.changed(iterations=400, ladder=(1, 9)))


def test_several_workers_cannot_time_on_another_gpu(embedded_request):
    trains, timed = torch.device("cuda:0"), Target(device=torch.device("cuda:1"))
    for number in (1, "auto"):
        check_workers(embedded_request.changed(workers=number), trains, timed)
    check_workers(embedded_request.changed(workers=2), trains, Target(device=trains))
    check_workers(embedded_request.changed(workers=2), torch.device("cpu"), timed)
    for several in ({"workers": 2}, {"workers": 1, "engine": "ray"}):
        with pytest.raises(InputError, match="workers must be 1 where"):
            check_workers(embedded_request.changed(**several), trains, timed)


def test_a_cluster_is_asked_for_by_its_engine(embedded_request):
    with pytest.raises(InputError, match="--address needs --engine ray, but got --engine local"):
        plan_search(embedded_request.changed(address="auto"))


def test_a_study_that_cannot_be_called_so(embedded_request):
    for name in ("a b", "../a", "x" * 300):
        with pytest.raises(InputError, match="a study's name must be letters, digits"):
            plan_search(embedded_request.changed(study=name))
