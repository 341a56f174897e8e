"""Each step alone: what it keeps, what it drops and why."""

from __future__ import annotations

import numpy as np
import pytest

from submissions.curation.step import Document
from submissions.curation.steps.bloom_duplicates import BloomDuplicates
from submissions.curation.steps.c4 import C4
from submissions.curation.steps.exact_duplicates import ExactDuplicates
from submissions.curation.steps.fasttext import FastText
from submissions.curation.steps.gopher_quality import GopherQuality
from submissions.curation.steps.gopher_repetition import GopherRepetition
from submissions.curation.steps.language import Language
from submissions.curation.steps.minhash_duplicates import MinHashDuplicates
from submissions.curation.steps.mix import Mix
from submissions.curation.steps.perplexity import Perplexity
from submissions.curation.steps.refinedweb_lines import RefinedWebLines
from submissions.curation.steps.sample import Sample
from submissions.curation.steps.url_rules import UrlRules
from submissions.failures import Failure
from tests.submissions.curation.conftest import TEXT, prose, write_lines

GOOD = prose(1, 12)
MIXED = "the cat sat with a hat and that was of no use to " * 8


def reason(step, text: str, **fields) -> str | None:
    return step.apply(Document(1, text, fields))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (GOOD, None),
        ("the of and to " * 12, "too few words"),
        ("of a to be " * 20, "mean word length"),
        (GOOD + " #" * 30, "symbols"),
        (GOOD + " etc..." * 30, "symbols"),
        ("\n".join(f"- {line}" for line in GOOD.splitlines()), "bullets"),
        ("\n".join(f"{line}..." for line in GOOD.splitlines()), "ellipses"),
        (GOOD + " 12345" * 60, "too few words with letters"),
        ("Maison rouge grande porte " * 20, "too few stop words"),
    ],
)
def test_gopher_quality(text, why):
    assert reason(GopherQuality(), text) == why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (TEXT, None),
        ("same line here\n" * 9 + "other", "repeated lines"),
        ("alpha beta " + " ".join(f"w{n}" for n in range(6)) + " alpha beta" * 9,
         "one run of 2 words again and again"),
    ],
)  # fmt: skip
def test_gopher_repetition(text, why):
    assert reason(GopherRepetition(), text) == why


def test_repeated_runs_count_each_word_once():
    """Twenty words twice: the second twenty are half of the characters, no more."""
    from submissions.curation.steps.gopher_repetition import _repeated

    words = [f"word{n:02}" for n in range(20)] * 2
    assert _repeated(words, 5) == 20 * 6


def test_c4_cuts_lines_and_counts_sentences(tmp_path):
    text = (
        "This line is a sentence of its own.\nA menu without an end\nShort one.\n"
        "Please enable JavaScript to see this page.\nWe have a privacy policy that you may read.\n"
        "Here is another whole sentence [1] for you.\nAnd this is the third of them, at last."
    )
    document = Document(1, text)
    assert C4().apply(document) is None
    assert document.text.splitlines() == [
        "This line is a sentence of its own.",
        "Here is another whole sentence  for you.",
        "And this is the third of them, at last.",
    ]
    assert [why for why, _ in document.cuts] == [
        "line without an end", "short line", "line on JavaScript", "line on a policy",
    ]  # fmt: skip
    assert reason(C4(), "One sentence of five words.") == "too few sentences"
    assert reason(C4(), GOOD + " {") == "curly bracket"
    words = tmp_path / "bad.txt"
    words.write_text("# of mine\nharbours\n")
    assert reason(C4(bad_words=str(words)), GOOD) == "bad word"


def test_refinedweb_cuts_furniture_and_drops_what_was_mostly_that():
    text = prose(3, 20) + "\n3 likes\nSign in to comment\nTOP\n* * *"
    document = Document(1, text)
    assert RefinedWebLines().apply(document) is None
    assert document.text == prose(3, 20)
    assert len(document.cuts) == 4
    assert (
        reason(RefinedWebLines(), "3 likes\nRead more...\nA few words stay here") == "much was cut"
    )


def test_url_rules(tmp_path):
    (tmp_path / "domains").write_text("bad.example\n")
    (tmp_path / "soft").write_text("casino\nbonus\n")
    step = UrlRules(domains=str(tmp_path / "domains"), soft_words=str(tmp_path / "soft"))
    assert reason(step, "", url="http://www.bad.example/x") == "domain"
    assert reason(step, "", url="http://notbad.example/x") is None
    assert reason(step, "", url="http://a.example/casino") is None
    assert reason(step, "", url="http://a.example/casino-bonus") == "two words in the address"
    assert reason(step, "", url="http://[broken/") is None


def test_language():
    german = "Der Fluss trägt das Wasser aus den Bergen in das Meer, und die Menschen leben dort."
    assert reason(Language(), GOOD) is None
    assert reason(Language(), german) == "language de"
    assert reason(Language(keep=("de",)), german) is None


def test_exact_duplicates_keep_the_first():
    step = ExactDuplicates()
    rows = [step.observe([Document(1, text) for text in part]) for part in (["a", "b"], ["b", "c"])]
    assert [list(one) for one in step.decide(rows)] == [[True, True], [False, True]]


def test_minhash_keeps_the_first_of_near_copies():
    step, text = MinHashDuplicates(), prose(5, 30)
    near = text.replace("part 3", "part nine")
    other = "something else, said at length"
    parts = ([prose(900, 3), text], [near, other])
    rows = [step.observe([Document(1, one) for one in part]) for part in parts]
    assert [list(one) for one in step.decide(rows)] == [[True, True], [False, True]]


def test_bloom_cuts_paragraphs_and_drops_documents_seen_before():
    rule = BloomDuplicates(expected=10_000).sweep(0)
    first, second = prose(5, 3), prose(77, 3)
    assert rule(Document(1, first)) is None
    assert rule(Document(2, first)) == "document seen before"
    mixed = Document(3, second + "\n" + first.splitlines()[0])
    assert rule(mixed) is None
    assert mixed.text == second
    assert mixed.cuts == [("paragraph seen before", first.splitlines()[0])]


def test_a_classifier_learns_and_gives_the_same_figures_again(tmp_path):
    write_lines(tmp_path / "good.jsonl", [{"text": prose(n)} for n in range(40)])
    spam = [{"text": f"buy cheap pills {n} click now casino bonus win"} for n in range(60)]
    write_lines(tmp_path / "bad.jsonl", spam)
    step = FastText(
        share=0.5, positives=[str(tmp_path / "good.jsonl")], dim=8, bucket=1000, epoch=20,
        negatives=[str(tmp_path / "bad.jsonl")], lr=0.2,
    )  # fmt: skip
    figures = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made = step.prepared(tmp_path / name)
        texts = [prose(99), "cheap casino pills, click and win a bonus now", ""]
        figures.append(made.observe([Document(1, text) for text in texts]))
    assert np.array_equal(*figures)
    assert figures[0][0] > 0.5 > figures[0][1]
    assert list(made.decide([figures[0]])[0]) == [True, True, False]
    with pytest.raises(Failure, match="has no label 'hq'"):
        FastText(share=0.5, model=made.model, label="hq").figure(Document(1, "some text"))


ARPA = """\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.3
-0.5\t</s>
-0.4\triver\t-0.2

\\2-grams:
-0.1\t<s> river
-0.2\triver </s>

\\end\\
"""


def test_perplexity_follows_the_model(tmp_path):
    model = tmp_path / "m.arpa"
    model.write_text(ARPA)
    step = Perplexity(model=str(model), share=0.5)
    river, other = step.observe([Document(1, "River"), Document(1, "glacier")])
    assert river == pytest.approx(-(10 ** (0.3 / 2)))
    assert other < river
    model.write_text("no model")
    (tmp_path / "n.arpa").write_text("no model")
    with pytest.raises(Failure, match=r"n\.arpa is no model"):
        Perplexity(model=str(tmp_path / "n.arpa"), share=0.5).figure(Document(1, "river"))


def test_a_sample_keeps_copies_together_and_fits_its_bytes():
    texts = [f"text {n % 500:04}" for n in range(1000)]
    step = Sample(share=0.3)
    (kept,) = step.decide([step.observe([Document(1, text) for text in texts])])
    assert 0.2 < kept.mean() < 0.4
    assert (kept[:500] == kept[500:]).all()
    step = Sample(bytes=900)
    (kept,) = step.decide([step.observe([Document(1, text) for text in texts[:500]])])
    assert kept.sum() == 100


def test_mixing_gives_the_shares_and_names_a_source_that_is_missing():
    documents = [Document(1, f"{n:04}", {"source": "web/a"}) for n in range(300)]
    documents += [Document(1, f"{n:04}", {"source": "books"}) for n in range(100)]
    documents += [Document(1, f"{n:04}", {"source": "other"}) for n in range(50)]
    step = Mix(weights={"web": 0.5, "books": 0.5})
    (kept,) = step.decide([step.observe(documents)])
    assert (kept[:300].sum(), kept[300:400].sum(), kept[400:].sum()) == (100, 100, 0)
    step = Mix(weights={"code": 1.0})
    with pytest.raises(Failure, match="source code"):
        step.decide([step.observe(documents)])
