"use strict";
// The viewer of games. Text from a tournament goes in through textContent and nothing else.
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("games-data").textContent);
  const games = data.games;
  const viewer = byId("viewer");
  if (games.length === 0) return;

  const filters = {
    game: byId("filter-game"),
    agent: byId("filter-agent"),
    against: byId("filter-against"),
    result: byId("filter-result"),
    ending: byId("filter-ending"),
  };
  const list = byId("game-list");
  const reply = byId("reply");
  let matched = [];
  let game = null;
  let position = 0;

  const name = (index) => data.names[index];
  // Names of any script stand side by side; isolates keep one from turning the order of the others.
  const isolated = (text) => `\u2068${text}\u2069`;
  const signed = (value) => (value === null ? "unknown" : `${value > 0 ? "+" : ""}${Number(value.toPrecision(6))}`.replace("-", "−"));
  const element = (tag, text, className) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const option = (value, text) => {
    const made = element("option", text);
    made.value = value;
    return made;
  };
  const plain = (fault) => fault.replaceAll("_", " ");
  function fill() {
    const unique = (values) => [...new Set(values)];
    const byName = (a, b) => name(a).localeCompare(name(b));
    for (const index of unique(games.map((each) => each.game)).sort(byName)) filters.game.append(option(index, name(index)));
    const agents = unique(games.flatMap((each) => each.agents)).sort(byName);
    for (const index of agents) {
      filters.agent.append(option(index, name(index)));
      filters.against.append(option(index, name(index)));
    }
    for (const fault of unique(games.flatMap((each) => each.faults)).sort()) {
      filters.ending.append(option(`fault:${fault}`, `with fault: ${plain(fault)}`));
    }
  }

  // The seats in which the game is played as the two filters of agents ask for.
  function seatsAsked(each) {
    const { agent, against } = filters;
    return [0, 1].filter(
      (seat) =>
        (agent.value === "" || each.agents[seat] === Number(agent.value)) &&
        (against.value === "" || each.agents[1 - seat] === Number(against.value)),
    );
  }

  function isAsked(each) {
    if (filters.game.value !== "" && each.game !== Number(filters.game.value)) return false;
    const seats = seatsAsked(each);
    if (seats.length === 0) return false;
    const scores = [each.score, 1 - each.score];
    const results = {
      "": () => true,
      draw: () => each.score === 0.5,
      first: () => each.score === 1,
      second: () => each.score === 0,
      won: () => seats.some((seat) => scores[seat] === 1),
      lost: () => seats.some((seat) => scores[seat] === 0),
    };
    if (!results[filters.result.value]()) return false;
    const ending = filters.ending.value;
    if (ending === "clean") return each.faults.length === 0;
    if (ending === "fault") return each.faults.length > 0;
    return ending === "" || each.faults.includes(ending.slice("fault:".length));
  }

  function applyFilters() {
    // Won and lost say something only of an agent that was chosen.
    for (const each of filters.result.options) each.disabled = ["won", "lost"].includes(each.value) && filters.agent.value === "";
    if (filters.result.selectedOptions[0].disabled) filters.result.value = "";
    matched = games.map((_, index) => index).filter((index) => isAsked(games[index]));
    list.replaceChildren(...matched.map((index) => option(index, describe(games[index]))));
    byId("matched").textContent = `${matched.length} of ${games.length} games`;
    byId("stage").hidden = matched.length === 0;
    byId("nothing").hidden = matched.length > 0;
    if (matched.length === 0) {
      game = null;
      return;
    }
    const kept = matched.findIndex((index) => games[index] === game);
    list.selectedIndex = Math.max(0, kept);
    if (kept < 0) open(matched[0], 0);
  }

  // The result comes before the agents, whose long names would push it out of the list.
  function describe(each) {
    const won = each.score === 0.5 ? "draw" : `${isolated(name(each.roles[each.score === 1 ? 0 : 1]))} won`;
    const turns = `${each.turns.length} ${each.turns.length === 1 ? "turn" : "turns"}`;
    const faults = each.faults.length > 0 ? `, fault: ${each.faults.map(plain).join(", ")}` : "";
    const seats = each.agents.map((agent, seat) => `${isolated(name(agent))} (${isolated(name(each.roles[seat]))})`);
    return `${isolated(name(each.game))}, ${won}, ${turns}${faults}: ${seats.join(" v ")}`;
  }

  function open(index, at) {
    game = games[index];
    position = Math.min(at, game.turns.length);
    const seats = game.agents.map((agent, seat) => {
      const row = element("li", undefined, `seat seat-${seat}`);
      row.append(element("bdi", name(game.roles[seat]), "role"), " ", element("bdi", name(agent)));
      row.append(" ", element("span", signed(game.returns[seat]), "return"));
      return row;
    });
    byId("seats").replaceChildren(...seats);
    byId("game-name").textContent = name(game.game);
    const why = { first: "the first of this matchup", longest: "the longest of this matchup", fault: "chosen for its fault" };
    const details = [`game ${isolated(game.id)}`, `pair ${game.pair}`, `seed ${game.seed}`, why[game.why]];
    byId("game-details").textContent = details.filter(Boolean).join(", ");
    const moves = game.turns.map((turn, number) => moveButton(turn, number));
    moves.push(stepButton(game.turns.length, "end", "the end of the game"));
    byId("moves").replaceChildren(...moves);
    show();
  }

  function moveButton(turn, number) {
    const text = turn.fault === "" ? turn.move : `${turn.move} fault`.trim();
    const shown = text.length > 24 ? `${text.slice(0, 23)}…` : text;
    const role = name(game.roles[turn.seat]);
    const item = stepButton(number, `${number + 1}. ${isolated(shown)}`, `move ${number + 1}, ${role}: ${text}`);
    item.firstChild.classList.add(`seat-${turn.seat}`);
    if (turn.fault !== "") item.firstChild.classList.add("bad");
    return item;
  }

  function stepButton(number, text, label) {
    const item = element("li");
    const button = element("button", text, "move-button");
    button.type = "button";
    button.setAttribute("aria-label", label);
    button.addEventListener("click", () => step(number));
    item.append(button);
    return item;
  }

  function step(to) {
    if (game === null) return;
    position = Math.max(0, Math.min(to, game.turns.length));
    show();
  }

  function show() {
    const isEnd = position === game.turns.length;
    byId("turn").hidden = isEnd;
    byId("end").hidden = !isEnd;
    for (const [number, item] of [...byId("moves").children].entries()) {
      if (number === position) item.firstChild.setAttribute("aria-current", "step");
      else item.firstChild.removeAttribute("aria-current");
    }
    keepInSight(byId("moves"), byId("moves").children[position]);
    // Really disabled, the button that was pressed would lose the focus, and the keys with it.
    for (const id of ["to-first", "to-previous"]) byId(id).setAttribute("aria-disabled", String(position === 0));
    for (const id of ["to-next", "to-last"]) byId(id).setAttribute("aria-disabled", String(isEnd));
    byId("where").textContent = isEnd ? "End of the game" : `Move ${position + 1} of ${game.turns.length}`;
    if (isEnd) showEnd();
    else showTurn(game.turns[position]);
    history.replaceState(null, "", `#replay=${encodeURIComponent(game.id)}&at=${position}`);
  }

  // Scrolls the strip of moves alone; scrollIntoView would move the page as well.
  function keepInSight(strip, item) {
    if (item.offsetTop < strip.scrollTop) strip.scrollTop = item.offsetTop;
    const below = item.offsetTop + item.offsetHeight - strip.clientHeight;
    if (below > strip.scrollTop) strip.scrollTop = below;
  }

  function showTurn(turn) {
    byId("turn").className = `seat-${turn.seat}`;
    byId("turn-role").textContent = name(game.roles[turn.seat]);
    byId("turn-agent").textContent = name(game.agents[turn.seat]);
    byId("turn-plays").textContent = turn.move === "" ? "made no move" : "plays";
    byId("turn-move").textContent = turn.move;
    const fault = byId("turn-fault");
    fault.hidden = turn.fault === "";
    const after = turn.move === "" ? "" : "; a random move was played instead";
    fault.textContent = `Fault: ${plain(turn.fault)}${turn.reason === "" ? "" : `, ${turn.reason}`}${after}`;
    byId("seen").textContent = turn.seen;
    byId("seen-note").textContent = cutNote(turn.seen_length, turn.seen_cut);
    const found = turn.rule === "" ? "" : turn.rule === "none" ? ", no move found in it" : `, move found as ${plain(turn.rule)}`;
    byId("reply-summary").textContent = `Reply, ${turn.reply_length.toLocaleString("en")} characters${found}`;
    byId("reply-text").textContent = turn.reply;
    byId("reply-note").textContent = cutNote(turn.reply_length, turn.reply_cut);
  }

  function cutNote(length, isCut) {
    return isCut ? `Shortened here; the whole text of ${length.toLocaleString("en")} characters is in games.jsonl.` : "";
  }

  function showEnd() {
    const winner = name(game.agents[game.score === 1 ? 0 : 1]);
    byId("end-result").textContent = game.score === 0.5 ? "A draw." : `${isolated(winner)} won.`;
    byId("end-returns").textContent = game.agents
      .map((agent, seat) => `${isolated(name(game.roles[seat]))} (${isolated(name(agent))}) gets ${signed(game.returns[seat])}`)
      .join("; ");
    const fault = byId("end-fault");
    fault.hidden = game.offender === null && game.reason === "";
    const who = game.offender === null ? "" : `${isolated(name(game.agents[game.offender]))} forfeited: `;
    fault.textContent = `${who}${game.reason === "" ? game.faults.map(plain).join(", ") : game.reason}`;
    const seen = game.last_seen.map((text, seat) => {
      const column = element("div");
      column.append(element("h4", `What ${isolated(name(game.roles[seat]))} saw at the end`), element("pre", text));
      return column;
    });
    byId("end-seen").replaceChildren(...seen);
  }

  function neighbour(distance) {
    const at = Math.max(0, Math.min(list.selectedIndex + distance, matched.length - 1));
    if (matched.length === 0 || at === list.selectedIndex) return;
    list.selectedIndex = at;
    open(matched[at], 0);
  }

  // From a cell of a heatmap to the games it is made of.
  function showMatchup(button) {
    for (const each of Object.values(filters)) each.value = "";
    filters.agent.value = button.dataset.first;
    filters.against.value = button.dataset.second;
    if (button.dataset.game !== undefined) filters.game.value = button.dataset.game;
    applyFilters();
    byId("games").scrollIntoView();
    list.focus({ preventScroll: true });
  }

  function openLinked() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const index = games.findIndex((each) => each.id === asked.get("replay"));
    if (index < 0) return false;
    if (!matched.includes(index)) {
      for (const each of Object.values(filters)) each.value = "";
      applyFilters();
    }
    list.selectedIndex = matched.indexOf(index);
    const at = Number.parseInt(asked.get("at") ?? "0", 10);
    open(index, at > 0 ? at : 0);
    return true;
  }

  const keys = {
    ArrowLeft: () => step(position - 1),
    ArrowRight: () => step(position + 1),
    Home: () => step(0),
    End: () => step(game.turns.length),
  };
  document.addEventListener("keydown", (event) => {
    if (game === null || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const { target, key } = event;
    const isArrow = key === "ArrowLeft" || key === "ArrowRight";
    // Where nothing has the focus, Home and End scroll the page as always, and arrows step while the viewer is in sight.
    if (!viewer.contains(target) && !(target === document.body && isArrow && isInSight(viewer))) return;
    // The other fields keep their keys; in the list, up, down, Home and End choose a game.
    if (target.matches("select, input") && !(target === list && isArrow)) return;
    const act = keys[key];
    if (act === undefined) return;
    event.preventDefault();
    act();
  });

  function isInSight(box) {
    const { top, bottom } = box.getBoundingClientRect();
    return top < window.innerHeight && bottom > 0;
  }

  for (const each of Object.values(filters)) each.addEventListener("change", applyFilters);
  list.addEventListener("change", () => open(matched[list.selectedIndex], 0));
  byId("to-first").addEventListener("click", () => step(0));
  byId("to-previous").addEventListener("click", () => step(position - 1));
  byId("to-next").addEventListener("click", () => step(position + 1));
  byId("to-last").addEventListener("click", () => step(game.turns.length));
  byId("previous-game").addEventListener("click", () => neighbour(-1));
  byId("next-game").addEventListener("click", () => neighbour(1));
  byId("clear").addEventListener("click", () => {
    for (const each of Object.values(filters)) each.value = "";
    applyFilters();
  });
  for (const button of document.querySelectorAll("button[data-first]")) {
    button.addEventListener("click", () => showMatchup(button));
  }
  window.addEventListener("hashchange", openLinked);

  fill();
  viewer.hidden = false;
  const linked = location.hash;
  applyFilters();
  if (linked.startsWith("#replay=")) {
    // Opening the first game has written its own address over the one that was asked for.
    history.replaceState(null, "", linked);
    if (openLinked()) byId("games").scrollIntoView();
  } else {
    history.replaceState(null, "", linked === "" ? location.pathname + location.search : linked);
  }
})();
