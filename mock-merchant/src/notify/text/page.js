"use strict";
// Replaces the section of orders as events come; without this script the page is whole, but stands still.
const orders = document.getElementById("orders");
const live = document.getElementById("live");
if (orders && live && window.EventSource) {
  const source = new EventSource(orders.dataset.events);
  const still = live.textContent;
  source.addEventListener("open", () => { live.textContent = live.dataset.live; });
  source.addEventListener("error", () => { live.textContent = still; });
  // The section is made by the server, with every text in it escaped, and the policy of the page runs no script from it.
  source.addEventListener("orders", (event) => { orders.innerHTML = event.data; });
}
