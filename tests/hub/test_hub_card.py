"""The model card says what run.json and the report card say, and no more."""

from unveil.hub import push
from unveil.hub.leaving import leaving

PIXELS = "ada/pixels"


def test_the_card_says_what_the_report_says(hub, trained):
    from huggingface_hub import ModelCard

    push(trained, PIXELS, license="apache-2.0")
    text = hub.head(PIXELS)["README.md"].decode()
    said = ModelCard(text).data
    assert (said.library_name, said.license, said.model_name) == ("unveil", "apache-2.0", "pixels")
    found = {one.metric_type: one for one in said.eval_results}
    report = trained.report()
    for kind, figure in (("nll", report.nll), ("neg_elbo", report.neg_elbo), ("distortion", report.distortion)):
        assert found[kind].metric_value == figure.value
        args = found[kind].metric_args
        assert args == {"unit": "nats", "n": figure.n, "seed": 0, "standard_error": figure.stderr, "K": 5}
    assert (found["nll"].dataset_name, found["nll"].dataset_split) == ("pixels.npy (binary)", "test")
    for line in (
        "# vae on pixels.npy",
        f'run = unveil.open("hf://{PIXELS}")',
        str(report.nll.pair()),
        "unveil train pixels.npy --recipe vae",
        f"unveil evaluate hf://{PIXELS} --samples 5",
        "![a sheet](pictures/samples.png)",
        "Whose they are, and under which licence, Unveil does not know.",
    ):
        assert line in text, line


def test_a_run_without_a_report_has_no_figures(hub, other):
    from huggingface_hub import ModelCard

    push(other, PIXELS)
    text = hub.head(PIXELS)["README.md"].decode()
    said = ModelCard(text).data
    assert said.eval_results is None
    assert said.license is None
    assert "It was not evaluated." in text
    assert "run.report()" not in text


def test_pictures_that_leave_without_data_are_made_of_the_model_alone(trained):
    names = {name for name in leaving(trained, PIXELS, data=False).files if name.startswith("pictures/")}
    assert names == {"pictures/samples.png", "pictures/manifold.png", "pictures/curves.png"}
