"use strict";
// The implicit grant's token stands behind the # of this page's address, where only a script of the page can read it.
const answer = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
fetch(location.pathname, { method: "POST", body: answer, credentials: "omit", redirect: "error", cache: "no-store" })
  .then((reply) => (reply.ok ? reply.text() : "refused"))
  .then((next) => location.replace("?" + next));
