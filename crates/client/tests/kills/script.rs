//! The scene: six people, a folder that is copied and put together again, and what each of them does in turn.

use dmls::Time;

pub const PEOPLE: [&str; 6] = ["Alice", "Bob", "Carol", "Dave", "Eve", "Frank"];
/// Who has been in the group all the time, and reads everything.
pub const FOUNDERS: [&str; 3] = ["Alice", "Bob", "Carol"];
/// Who is in the group at the end.
pub const MEMBERS: [&str; 5] = ["Alice", "Bob", "Carol", "Eve", "Frank"];

const DAY: u64 = 86_400;

/// What somebody does; then it synchronizes. All of it can be said again.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    /// Makes a profile.
    Begin,
    Create,
    Invite(&'static [&'static str]),
    Remove(&'static str),
    Rename(&'static str),
    Say(&'static str),
    Update,
    Rejoin,
    Prune,
    /// Synchronizes, no more.
    Look,
    /// Copies the files of this folder into the person's.
    Copy(&'static str),
    /// All synchronize in turn until nothing moves, and whoever is missing then is invited again.
    Settle,
}

#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub who: &'static str,
    /// The folder that it has.
    pub folder: &'static str,
    pub deed: Deed,
    pub at: Time,
}

impl Step {
    /// After so many days all have come to rest.
    pub const SETTLED: u64 = 20;
}

struct Script {
    steps: Vec<Step>,
    now: Time,
    folder: &'static str,
}

impl Script {
    fn step(&mut self, who: &'static str, deed: Deed) {
        self.steps.push(Step { who, folder: self.folder, deed, at: self.now });
        self.now.0 += 7;
    }

    fn all(&mut self, who: &[&'static str], deed: Deed) {
        who.iter().for_each(|who| self.step(who, deed));
        self.now.0 += 60;
    }
}

pub fn script() -> Vec<Step> {
    use Deed::{Begin, Copy, Create, Invite, Look, Prune, Rejoin, Remove, Rename, Say, Settle, Update};
    const ALICE: &str = "Alice";
    const BOB: &str = "Bob";
    const CAROL: &str = "Carol";
    const DAVE: &str = "Dave";
    const EVE: &str = "Eve";
    const FRANK: &str = "Frank";
    let mut s = Script { steps: Vec::new(), now: Time(1_800_000_000), folder: "one" };
    s.all(&[EVE, FRANK, DAVE, CAROL, BOB, ALICE], Begin);
    s.step(CAROL, Look);
    s.step(ALICE, Create);
    s.step(ALICE, Invite(&[BOB, CAROL, DAVE]));
    s.all(&[BOB, CAROL, DAVE, ALICE], Look);
    s.step(ALICE, Say("hello"));
    s.step(CAROL, Say("hi"));
    s.step(BOB, Look);
    s.step(DAVE, Look);

    // It goes apart. One side removes Dave, who goes on with the other; both invite somebody.
    s.folder = "two";
    s.step(DAVE, Copy("one"));
    s.step(DAVE, Update);
    s.step(DAVE, Say("two: Dave"));
    s.step(CAROL, Invite(&[FRANK]));
    s.step(FRANK, Look);
    s.step(FRANK, Say("two: Frank"));
    s.step(CAROL, Say("two: Carol"));
    s.step(DAVE, Look);
    s.folder = "one";
    s.step(ALICE, Invite(&[EVE]));
    s.step(EVE, Look);
    s.step(BOB, Update);
    s.step(BOB, Say("one: Bob"));
    s.step(ALICE, Remove(DAVE));
    s.step(ALICE, Say("one: Alice"));
    s.step(EVE, Say("one: Eve"));
    s.step(BOB, Look);

    // It comes together: one side loses, what it did is done again, and who came there is taken in again.
    s.step(ALICE, Copy("two"));
    s.all(&[BOB, ALICE, CAROL, DAVE, EVE, FRANK], Look);
    s.all(&[BOB, ALICE, CAROL], Look);
    s.now.0 += DAY;
    s.all(&[CAROL, ALICE, BOB, EVE, FRANK, DAVE], Look);
    s.all(&[ALICE, BOB, CAROL, EVE, FRANK], Look);
    s.step(BOB, Rejoin);
    s.all(&[CAROL, ALICE, EVE, FRANK], Look);
    s.step(ALICE, Say("Bob is away"));
    s.step(CAROL, Rename("family"));
    s.all(&[BOB, ALICE, EVE, FRANK, DAVE], Look);
    s.step(ALICE, Settle);
    s.now.0 += Step::SETTLED * DAY;
    for (who, text) in MEMBERS.iter().zip(["bye: Alice", "bye: Bob", "bye: Carol", "bye: Eve", "bye: Frank"])
    {
        s.step(who, Say(text));
    }

    // What was kept for late messages goes, and what all have read.
    s.now.0 += 8 * DAY;
    s.all(&MEMBERS, Prune);
    s.all(&MEMBERS, Prune);
    s.step(ALICE, Settle);
    s.steps
}
