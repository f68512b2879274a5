// Before anything is drawn: a page that opens with a query has the head of results at once, so that nothing moves later.

{
  const query = new URLSearchParams(location.search);
  const isAsked = Boolean(query.get("q") || query.get("item") || history.state?.files?.length);
  document.documentElement.classList.toggle("asked", isAsked);
}
