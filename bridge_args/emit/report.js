(function () {
  "use strict";
  var marked = Array.from(document.querySelectorAll("[data-args], [data-from]"));
  var left = document.getElementById("left"), right = document.getElementById("right");
  var detail = document.getElementById("detail"), help = detail.textContent;
  var search = document.getElementById("q"), count = document.getElementById("count");
  var pinned = null;

  function names(element, what) {
    var text = element.getAttribute("data-" + what);
    return text ? text.split(" ") : [];
  }
  function meet(some, others) {
    return some.some(function (name) { return others.indexOf(name) >= 0; });
  }
  function owner(node) {
    return node instanceof Element ? node.closest("[data-args], [data-from]") : null;
  }

  function light(element) {
    var direct = element ? names(element, "args") : [], inputs = element ? names(element, "from") : [];
    marked.forEach(function (other) {
      var lit = other === element || meet(direct, names(other, "args"));
      other.classList.toggle("lit", lit);
      other.classList.toggle("near", !lit && (meet(inputs, names(other, "args")) || meet(direct, names(other, "from"))));
    });
    tell(direct.length ? direct : inputs);
    [left, right].forEach(function (pane) { if (element && !pane.contains(element)) { reveal(pane); } });
  }

  // Scrolls a pane, and nothing else, so far that what is lit can be seen.
  function reveal(pane) {
    show(pane, pane.querySelector(".lit") || pane.querySelector(".near"));
  }
  function show(pane, found) {
    if (!found) { return; }
    var outer = pane.getBoundingClientRect(), inner = found.getBoundingClientRect();
    var top = Math.max(outer.top, 0) + 40, bottom = Math.min(outer.bottom, detail.getBoundingClientRect().top);
    if (inner.top < top || inner.bottom > bottom) {
      pane.scrollTop += inner.top - top - Math.max(0, bottom - top) / 3;
    }
  }

  function tell(wanted) {
    detail.textContent = wanted.length ? "" : help;
    wanted.forEach(function (name, index) {
      var row = document.getElementById("row-" + name);
      if (!row) { return; }
      var cells = Array.from(row.cells).map(function (cell) { return cell.innerText.trim(); });
      var flag = document.createElement("b");
      flag.textContent = cells[1] || name;
      if (index) { detail.append("\n"); }
      detail.append(flag, "  \u2192  " + cells[2].split("\n").join(", ") + (cells[3] ? "  (" + cells[3] + ")" : ""));
    });
  }

  var x = -1, y = -1;
  document.addEventListener("mouseover", function (event) {
    var moved = event.clientX !== x || event.clientY !== y;  // else the page was scrolled under a pointer at rest
    x = event.clientX;
    y = event.clientY;
    if (moved && !pinned) { light(owner(event.target)); }
  });
  document.addEventListener("focusin", function (event) { if (!pinned) { light(owner(event.target)); } });
  document.addEventListener("click", function (event) {
    var element = owner(event.target);
    if (!element || !(left.contains(element) || right.contains(element))) { return; }
    event.preventDefault();  // the other side moves, not the page
    pinned = pinned === element ? null : element;
    light(element);
  });
  document.addEventListener("keydown", function (event) {
    if (event.key === "Escape") {
      pinned = null;
      light(null);
      if (search.value) { search.value = ""; find(); }
    } else if (event.key === "/" && document.activeElement !== search && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "Enter" && document.activeElement === search) {
      next(event.shiftKey ? -1 : 1);
    }
  });

  var words = [], hits = [], at = -1;
  function find() {
    words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    hits = [];
    at = -1;
    document.querySelectorAll(".code li, .findings li, tbody tr").forEach(function (item) {
      var titles = Array.from(item.querySelectorAll("[title]")).map(function (part) { return part.title; });
      var text = (item.textContent + " " + titles.join(" ")).toLowerCase();
      var found = words.every(function (word) { return text.indexOf(word) >= 0; });
      if (item.closest(".code")) {
        item.classList.toggle("hit", found && words.length > 0);
      } else {
        item.hidden = !found;
      }
      if (found && words.length) { hits.push(item); }
    });
    document.querySelectorAll(".code").forEach(function (code) { code.classList.toggle("searched", words.length > 0); });
    document.querySelectorAll("details").forEach(function (group) {
      var inside = group.querySelector("li:not([hidden])");
      group.hidden = !inside;
      if (words.length && inside) { group.open = true; }
    });
    [left, right].forEach(function (pane) { show(pane, pane.querySelector(".hit")); });
    count.textContent = words.length ? (hits.length === 1 ? "1 match" : hits.length + " matches") : "";
  }
  function next(step) {
    if (!hits.length) { return; }
    at = (at + step + hits.length) % hits.length;
    hits[at].scrollIntoView({ block: "center" });
    var parts = Array.from(hits[at].querySelectorAll("[data-args], [data-from]"));
    pinned = owner(hits[at]) || parts.find(function (part) {
      return words.some(function (word) { return (part.textContent + " " + part.title).toLowerCase().includes(word); });
    }) || parts[0] || null;
    light(pinned);
  }
  search.addEventListener("input", find);
}());
