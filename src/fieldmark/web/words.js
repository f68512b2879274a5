// Words that tell texts apart: phrases of one or two words that many texts of one kind hold and few of the others.

const SHOWN = 8;
const LEAST_SHARE = 0.25;
const SMALL = new Set("a an and are as at be but by for from has have in is it its like of on or over per than that the their them then there this to with which very more most each when where while after before into through often usually also other some all no not one two was were will can may".split(" "));

/** Phrases of a text, each once. Words that only join others end a phrase. */
function phrasesOf(text) {
  const words = text.toLowerCase().match(/[\p{L}\p{N}][\p{L}\p{N}'’-]*/gu) ?? [];
  const found = new Set();
  words.forEach((word, index) => {
    if (SMALL.has(word) || word.length < 3) return;
    found.add(word);
    const next = words[index + 1];
    if (next && !SMALL.has(next) && next.length > 2) found.add(`${word} ${next}`);
  });
  return found;
}

/**
 * For each list of texts, what is said there and hardly elsewhere, the most telling first.
 * A phrase counts by the difference of the shares of texts that hold it; `names` of the kinds themselves tell nothing.
 */
export function findWords(lists, names) {
  const ownNames = new Set(names.flatMap((name) => [...phrasesOf(name)]));
  const shares = lists.map((texts) => {
    const counts = new Map();
    for (const text of texts) for (const phrase of phrasesOf(text)) counts.set(phrase, (counts.get(phrase) ?? 0) + 1);
    return new Map([...counts].map(([phrase, number]) => [phrase, number / Math.max(1, texts.length)]));
  });
  return shares.map((own, index) => {
    const others = shares.filter((_, position) => position !== index);
    const scored = [...own]
      .filter(([phrase, share]) => share >= LEAST_SHARE && !phrase.split(" ").some((word) => ownNames.has(word)))
      .map(([phrase, share]) => [phrase, share - Math.max(0, ...others.map((each) => each.get(phrase) ?? 0))])
      .filter(([, gain]) => gain >= LEAST_SHARE)
      .sort((one, other) => other[1] - one[1] || other[0].split(" ").length - one[0].split(" ").length || one[0].localeCompare(other[0]));
    const kept = [];
    for (const [phrase] of scored) {
      // A phrase stands for its words.
      if (!kept.some((each) => each.split(" ").includes(phrase) || phrase.split(" ").includes(each))) kept.push(phrase);
    }
    return kept.slice(0, SHOWN);
  });
}
