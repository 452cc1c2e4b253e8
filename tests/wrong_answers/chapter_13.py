"""Wrong answers to the exercises of chapter 13."""

WRONG = {
    "13.1": [
        # Itself among them.
        """def nearest(apart, number, count):
    return np.argsort(apart[number])[:count]""",
        # The first dropped, whoever that is.
        """def nearest(apart, number, count):
    return np.argsort(apart[number], kind="stable")[1 : count + 1]""",
        # The farthest.
        """def nearest(apart, number, count):
    return np.argsort(apart[number])[::-1][:count]""",
        # By number, not by distance.
        """def nearest(apart, number, count):
    order = np.argsort(apart[number], kind="stable")
    return np.sort(order[order != number][:count])""",
        # All at distance zero left out, the twin too.
        """def nearest(apart, number, count):
    order = np.argsort(apart[number], kind="stable")
    return order[apart[number][order] > 0][:count]""",
        # The distances instead of the numbers.
        """def nearest(apart, number, count):
    return np.sort(np.delete(apart[number], number))[:count]""",
    ],
    "13.2": [
        # Different partners, counted.
        """def mutual(ours, theirs):
    forth, _ = partners(ours, theirs)
    return len(np.unique(forth))""",
        # Partner of the same number.
        """def mutual(ours, theirs):
    forth, _ = partners(ours, theirs)
    return int(np.sum(forth == np.arange(len(forth))))""",
        # Good partners instead of mutual ones.
        """def mutual(ours, theirs):
    forth, correlation = partners(ours, theirs)
    return int(np.sum(correlation > 0.5))""",
        # The share instead of the number.
        """def mutual(ours, theirs):
    forth, _ = partners(ours, theirs)
    back, _ = partners(theirs, ours)
    return np.mean(back[forth] == np.arange(len(forth)))""",
        # Both lists compared with each other.
        """def mutual(ours, theirs):
    forth, _ = partners(ours, theirs)
    back, _ = partners(theirs, ours)
    shorter = min(len(forth), len(back))
    return int(np.sum(forth[:shorter] == back[:shorter]))""",
        # Each pair counted from both sides.
        """def mutual(ours, theirs):
    forth, _ = partners(ours, theirs)
    back, _ = partners(theirs, ours)
    there = np.sum(back[forth] == np.arange(len(forth)))
    return int(there + np.sum(forth[back] == np.arange(len(back))))""",
    ],
    "13.3": [
        # The mean over all images.
        """def inside_patterns(answers, labels):
    return answers - answers.mean(axis=0)""",
        # One mean for all filters.
        """def inside_patterns(answers, labels):
    rest = np.array(answers, float)
    for label in np.unique(labels):
        rest[labels == label] -= rest[labels == label].mean()
    return rest""",
        # The mean over the filters.
        """def inside_patterns(answers, labels):
    return answers - answers.mean(axis=1, keepdims=True)""",
        # The means instead of what is left.
        """def inside_patterns(answers, labels):
    rest = np.array(answers, float)
    for label in np.unique(labels):
        rest[labels == label] = rest[labels == label].mean(axis=0)
    return rest""",
        # In place: the caller's array changes.
        """def inside_patterns(answers, labels):
    for label in np.unique(labels):
        answers[labels == label] -= answers[labels == label].mean(axis=0)
    return answers""",
        # Patterns counted from 0 to the number of patterns.
        """def inside_patterns(answers, labels):
    rest = np.array(answers, float)
    for label in range(len(np.unique(labels))):
        if np.any(labels == label):
            rest[labels == label] -= rest[labels == label].mean(axis=0)
    return rest""",
    ],
}
