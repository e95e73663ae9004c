"""The admin terminal: a Textual app over the admin service.

How it is built
---------------
`app.py`      the app: modes (one for each screen of `places.py`), keys, themes, the state of the connection
`link.py`     the connection: an AdminClient in a thread of its own; nothing else here does I/O, but for the playground
`drivers.py`  what is typed: an Escape is heard as soon as it is told from an arrow key
`palette.py`  the themes' colours on terminals that have few
`sheets.py`   the style sheets, parsed once for each theme; `compositing.py` draws what nothing covers
`screens/`    one file a screen; `base.py`, `listing.py`, `opened.py`, `form.py`, `confirm.py`, `record.py` are what
              they are made of
`widgets/`    what several screens show; widgets know no method of the admin service
`nexeon.tcss` how it looks; `show.py` makes figures, amounts and times readable

How to write a screen
---------------------
A list is a `ListScreen` (see `screens/audit.py`, the smallest): name `method`, `columns`, `row(item)` and the words for
an empty list. It pages, searches (`/`), keeps the cursor, reloads (`r`, and by itself every `every` seconds).
Anything else is an `AdminScreen`:

- `compose_body` makes the widgets; no input takes the focus by itself.
- `load()` asks for what is shown: `self.ask("job", "accounts.list", limit=100)`. A worker makes the call and posts
  `Answered` or `Refused`, with the job's name. **A worker never touches a widget.**
- `answered(job, result)` owns the state and the widgets. A refused "load" stands above the body until it works again,
  any other becomes a toast.
- What the screen can do is a binding with an `action_…`; `acts()` adds what only the command palette has.
- What destroys goes through `self.confirm("Delete", "key `ci` of acme", then)`: the thing is named, and asked once.
  What needs values goes through `self.fill(Form(…), then)`.
- A dialog of another kind is a `Dialog` (see `screens/confirm.py`): one of each is kept, so it takes what is asked in
  `ask`, and shows it in `show`; `self.admin.kept(Kind)` has it, `self.app.push_screen` opens it.
- What Enter on a record opens is an `OpenedScreen` (see `screens/account.py`), kept in the same way: `open` takes the
  record, `begin` shows what the list knew of it and nothing of the one before, `load` asks for the rest, `end` lets go
  of it. It is made ahead where `places.py` names it. What is answered later is of no interest to it, but for acts.
- Text that came from elsewhere is never markup: use `rich.text.Text`, or `Static(…, markup=False)`.

Tests stand in `tests/tui`: the fixture `open_app` opens the app over a `FakeService`, for a screen's own behaviour,
`open_real` over a real service, for flows, and `gateways.py` beside a real gateway; `test_pictures.py` holds snapshots
(two sizes, two themes; `pytest tests/tui/test_pictures.py --snapshot-update`).
"""
