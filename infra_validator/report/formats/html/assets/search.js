"use strict";
(function () {
  var LONGEST = 5000;
  document.querySelectorAll("details.log").forEach(function (log) {
    var box = log.querySelector(".search");
    var input = log.querySelector("input");
    var told = log.querySelector("output");
    var pre = log.querySelector("pre");
    var text = pre.textContent;
    box.hidden = false;
    input.addEventListener("input", function () {
      var wanted = input.value.toLowerCase();
      if (!wanted) {
        pre.textContent = text;
        told.textContent = "";
        return;
      }
      var found = 0;
      var part = document.createDocumentFragment();
      text.split("\n").forEach(function (line, number) {
        var at = line.toLowerCase().indexOf(wanted);
        if (at < 0 || (found += 1) > LONGEST) return;
        var hit = document.createElement("mark");
        hit.textContent = line.substr(at, wanted.length);
        part.append(number + 1 + ": " + line.slice(0, at), hit, line.slice(at + wanted.length) + "\n");
      });
      pre.replaceChildren(part);
      told.textContent = found === 1 ? "1 line" : found + " lines";
    });
  });
})();
