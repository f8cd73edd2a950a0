"use strict";
// Looks at the figures again and again, and puts them in place of the old ones. Without it the page
// is as it was when it was asked for. It pauses while nobody looks, and while somebody reads.
(() => {
    const figures = document.getElementById("hodei-figures");
    const line = document.querySelector(".hodei-looks");
    const words = document.getElementById("hodei-looking");
    const button = document.getElementById("hodei-pause");
    const every = Number(line.dataset.every);
    const address = `${location.pathname}?figures`;
    const patience = 30000;
    let paused = false;

    const isRead = () =>
        figures.contains(document.activeElement) ||
        figures.querySelector("details[open]") !== null ||
        (!getSelection().isCollapsed && figures.contains(getSelection().anchorNode));

    const say = (text) => {
        if (words.textContent !== text) words.textContent = text;
    };

    const look = async () => {
        if (paused || document.hidden || isRead()) return;
        try {
            const answer = await fetch(address, { signal: AbortSignal.timeout(patience) });
            if (answer.redirected || answer.status === 403) {
                paused = true;
                button.hidden = true;
                say("You are logged out, or may not see this any more. Load the page again.");
                return;
            }
            if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
            const found = new DOMParser().parseFromString(await answer.text(), "text/html");
            if (paused || isRead()) return;
            figures.replaceChildren(...found.body.childNodes);
            say(`Looks again every ${every} seconds.`);
        } catch (error) {
            say(`Could not look again: ${error.message}. It goes on trying.`);
        }
    };

    const turn = async () => {
        await look();
        setTimeout(turn, every * 1000);
    };

    button.addEventListener("click", () => {
        paused = !paused;
        button.textContent = paused ? "Go on" : "Pause";
        say(paused ? "Paused." : `Looks again every ${every} seconds.`);
        look();
    });
    line.hidden = false;
    setTimeout(turn, every * 1000);
})();
