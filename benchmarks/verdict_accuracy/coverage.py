"""Coverage of the intervals where receivers are donors too, by simulation.

    python benchmarks/verdict_accuracy/coverage.py

A simulated model follows what goes with the donor to a degree of each receiver's own. What it
follows agrees with the donor's class in a share of the images, and each image has a quirk besides,
which shows as receiver and as donor. The gap of the population is then known in closed form.
"""

import numpy as np

from keras_saliency.shortcuts.statistics import carry_coefficient, interval_of, student_quantile
from keras_saliency.shortcuts.tasks.classification import Classification

FOLLOWED = 0.4  # the mean degree to which receivers follow donors


def simulated(per_class, agreeing, quirks, rng):
    """Measure one simulated experiment; return its gap with the error, and the true gap.

    Args:
        per_class: The number of images of each of two classes.
        agreeing: The share of donors whose nuisance goes with their class.
        quirks: The standard deviation of what images add as receivers and as donors.
        rng: The source of randomness.
    """
    labels = np.repeat([0, 1], per_class)
    count, signs = 2 * per_class, 2 * labels - 1
    follows = rng.uniform(0, 2 * FOLLOWED, count)
    shown = np.where(rng.random(count) < agreeing, signs, -signs)
    quirk = rng.normal(0, quirks, count)
    task = Classification(2)
    drawn = task.draw(labels, labels, rng, np.eye(count, dtype=bool))
    own, signs = np.arange(count)[:, None, None], signs[:, None, None]
    answers = 0.5 + signs * (0.5 * follows[own] * shown[drawn] + quirk[own] + quirk[drawn])
    answers += rng.normal(0, 0.05, drawn.shape)
    differences = task.differences(labels, labels[drawn])
    gap = carry_coefficient(answers, differences, drawn, np.arange(count))
    return gap, FOLLOWED * (2 * agreeing - 1)


def coverage(per_class, agreeing, quirks, trials, seed=0):
    """Compute how often the truth is within Student's interval, and within the verdict's."""
    rng = np.random.default_rng(seed)
    reach = student_quantile(per_class - 1)
    inside = []
    for _ in range(trials):
        gap, truth = simulated(per_class, agreeing, quirks, rng)
        low, high = interval_of(gap, 2 * per_class)
        inside.append((abs(gap[0] - truth) <= reach * gap[1], low <= truth <= high))
    return np.mean(inside, axis=0)


def main():
    """Print a table."""
    print(
        "| images a class | nuisance goes with the class | quirks | Student's t | the verdict's |"
    )
    print("| --- | --- | --- | --- | --- |")
    for per_class in (20, 30, 60):
        for agreeing in (0.5, 0.75, 0.95):
            for quirks in (0.0, 0.1):
                student, verdict = coverage(per_class, agreeing, quirks, 4000)
                print(f"| {per_class} | {agreeing} | {quirks} | {student:.3f} | {verdict:.3f} |")


if __name__ == "__main__":
    main()
