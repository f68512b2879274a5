// Nearly identical hits: the first of them is shown, the others can be hidden.

import { findAlike } from "./api.js";

/** Finds the hits that are nearly identical to an earlier one; the server looks at a few at a time. */
export async function alikeIn(lists) {
  const hidden = new Map();
  for (const hits of lists) {
    const itemIds = [...new Set(hits.map((hit) => hit.item_id))];
    let answer;
    do answer = await findAlike(itemIds); while (answer.pending_count > 0);
    for (const [first, ...others] of answer.groups) others.forEach((itemId) => hidden.set(itemId, first));
  }
  return { hidden };
}
