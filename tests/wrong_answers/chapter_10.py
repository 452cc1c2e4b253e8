"""Wrong answers to the exercises of chapter 10."""

INTO = "def into_range(images, low, high):\n    return "
BEST = """def best_range(network, images, labels, ranges):
    right = []
    for low, high in ranges:
        values = np.asarray(network({ready}))
        right.append({count})
    return {chosen}
"""
READY, COUNT = (
    "low + images / 255 * (high - low)",
    "np.mean(values.argmax(axis=1) == labels)",
)
CHOSEN = "ranges[int(np.argmax(right))]"
LEAD = "def lead(probabilities, number):\n    values = np.log(probabilities)\n    return "

WRONG = {
    "10.1": [
        INTO + "images / 255 * high + low",
        INTO + "low + images * (high - low) / 255",
        INTO + "low + images / 256 * (high - low)",
        INTO + "low + images / 127.5 * (high - low)",
        INTO + "np.clip(images, low, high)",
        INTO + "low + (images - images.min()) / np.ptp(images) * (high - low)",
        INTO + "(low + images / 255 * (high - low)).astype(np.uint8)",
    ],
    "10.2": [
        BEST.format(ready=READY, count="np.mean(values.max(axis=1))", chosen=CHOSEN),
        BEST.format(ready="images / 255.0", count=COUNT, chosen=CHOSEN),
        BEST.format(ready="images", count=COUNT, chosen=CHOSEN),
        BEST.format(ready=READY, count=COUNT, chosen="int(np.argmax(right))"),
        BEST.format(ready=READY, count=COUNT, chosen="ranges[int(np.argmin(right))]"),
        BEST.format(ready=READY, count="np.mean(values.argmax(axis=1) != labels)", chosen=CHOSEN),
        BEST.format(ready=READY, count=COUNT, chosen="max(right)"),
    ],
    "10.3": [
        LEAD + "probabilities[number] - np.delete(probabilities, number).max()",
        LEAD + "values[number] - values.max()",
        LEAD + "values[number] - np.delete(values, number).mean()",
        LEAD + "values[number] - np.sort(values)[-2]",
        LEAD + "np.delete(values, number).max() - values[number]",
        LEAD + "probabilities[number] / np.delete(probabilities, number).max()",
        LEAD + "values[number]",
    ],
}
