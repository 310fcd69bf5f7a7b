//! What is told in words: what a commit did, what a fork means, for whom an epoch is kept.

use std::collections::BTreeSet;

use dmls::{Credential, Kept, KnownCommit, Level, Member, Time};

use super::text;
use super::view::{EpochView, GraphView, Side};

/// Of many names only some are told.
const SHOWN: usize = 6;

/// What is undone is told of so many branches at one place, and of so many commits of each.
const TOLD: usize = 3;

/// When a commit did what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tense {
    /// It does so now.
    Present,
    /// It did.
    Past,
}

/// What a commit does, or did.
pub fn changes(commit: &KnownCommit, tense: Tense, names: &dyn Fn(&Credential) -> String) -> String {
    let verb = |present: &'static str, past: &'static str| match tense {
        Tense::Present => present,
        Tense::Past => past,
    };
    let mut parts = Vec::new();
    if commit.external {
        parts.push(format!("{} by an external commit", verb("joins", "joined")));
    }
    if commit.added_count > 0 {
        let added = commit.added.iter().map(|added| &added.member.credential);
        parts.push(format!("{} {}", verb("adds", "added"), people(added, commit.added_count, names)));
    }
    if commit.removed_count > 0 {
        let removed = commit.removed.iter().map(|member| &member.credential);
        let removed = people(removed, commit.removed_count, names);
        parts.push(format!("{} {removed}", verb("removes", "removed")));
    }
    if commit.updated_count > 0 {
        let members = count(commit.updated_count as usize, "member");
        parts.push(format!("{} new keys of {members}", verb("takes in", "took in")));
    }
    if commit.extensions_changed {
        parts.push(format!("{} the settings of the group", verb("changes", "changed")));
    }
    if commit.psks > 0 {
        parts.push(format!("{} {}", verb("mixes in", "mixed in"), count(commit.psks as usize, "shared key")));
    }
    if commit.reinit {
        parts.push(format!("{} the group for a new one", verb("ends", "ended")));
    }
    if parts.is_empty() {
        parts.push(verb("renews keys", RENEWED).into());
    }
    parts.join(", ")
}

/// What every commit does: nothing that anybody misses.
const RENEWED: &str = "renewed keys";

/// Whether somebody came or went by a commit.
pub fn moves_members(commit: &KnownCommit) -> bool {
    commit.external || commit.added_count > 0 || commit.removed_count > 0
}

/// How an epoch began of which no commit is known.
pub fn beginning(number: u64) -> &'static str {
    if number == 0 { "the group was created" } else { "this device joined" }
}

/// What is left of an epoch.
pub fn level(level: Level) -> &'static str {
    match level {
        Level::Full => "full",
        Level::Readable => "readable",
        Level::Known => "known",
    }
}

/// For whom, or until when, an epoch is kept: what `Kept` says, with the names that people have here, and times from now.
pub fn kept(kept: &Kept, now: Time, names: &dyn Fn(&Credential) -> String) -> String {
    let left = |until: &Time| span(until.0.saturating_sub(now.0));
    let people = |members: &[Member]| {
        people(members.iter().map(|member| &member.credential), members.len() as u32, names)
    };
    match kept {
        Kept::Head => "in use: what is written now is sent in it".into(),
        Kept::Due(Level::Readable) => "for nothing: the next step leaves only what reads messages".into(),
        Kept::Due(_) => "for nothing: the next step deletes it".into(),
        Kept::Members { silent, removed, until } => {
            let silent = (!silent.is_empty()).then(|| format!("until {} went past it", people(silent)));
            let removed = until.as_ref().map(|until| {
                let who = people(removed);
                format!("{} more for {who}: removed, and may not know", left(until))
            });
            silent.into_iter().chain(removed).collect::<Vec<_>>().join("; ")
        }
        Kept::Late { until, .. } => format!("for late messages, {} more", left(until)),
        other => other.to_string(),
    }
}

/// What happened where branches part, in sentences: whose commit won, what the others did.
pub fn fork(view: &GraphView, place: usize) -> Vec<String> {
    let mut sentences = vec![crossed(view, place)];
    let next = view.next(place).filter(|next| view.epochs()[*next].side == Side::Way);
    if view.epochs()[place].side == Side::Lost {
        return sentences;
    }
    let lost: Vec<usize> =
        view.children(place).iter().copied().filter(|child| Some(*child) != next).collect();
    sentences.extend(lost.iter().take(TOLD).map(|first| undone(view, *first, next)));
    sentences.extend(next.and_then(|won| came_first(view, won, &lost)));
    sentences
}

/// The first sentence.
fn crossed(view: &GraphView, place: usize) -> String {
    let children = view.children(place);
    let commits = match children.len() {
        2 => "Two commits".to_owned(),
        more => format!("{more} commits"),
    };
    let of = |place: &usize| whose(&view.epochs()[*place]);
    let (won, lost): (Vec<_>, Vec<_>) =
        children.iter().partition(|child| view.epochs()[**child].side == Side::Way);
    let all = |places: &[usize]| {
        let authors: Vec<String> = places.iter().map(of).collect();
        match authors.iter().collect::<BTreeSet<_>>().len() {
            1 if authors.len() > 1 => format!("all of them {}", authors[0]),
            _ => list(&authors, authors.len()),
        }
    };
    match &won[..] {
        _ if view.epochs()[place].side == Side::Lost => {
            format!("{commits} crossed here, too: {}; the whole branch lost.", all(children))
        }
        [won] if lost.iter().any(|lost| of(lost) == of(won)) => {
            let others = if lost.len() == 1 { "another one" } else { "others" };
            format!("{commits} crossed here: {} won, {others} lost.", of(won))
        }
        [won] => format!("{commits} crossed here: {} won, {} lost.", of(won), all(&lost)),
        _ => format!("{commits} crossed here, and all of them lost: {}.", all(&lost)),
    }
}

/// What a branch that lost did.
fn undone(view: &GraphView, first: usize, won: Option<usize>) -> String {
    let epoch = &view.epochs()[first];
    let won = won.map(|won| &view.epochs()[won]);
    let is_same = won.is_some_and(|won| won.what == epoch.what);
    let whose = if won.is_some_and(|won| won.by == epoch.by) { "the other one".into() } else { whose(epoch) };
    let mut missed: Vec<usize> =
        branch(view, first).filter(|place| view.epochs()[*place].what != RENEWED).collect();
    missed.sort_unstable();
    let sentences = missed.iter().take(TOLD).map(|place| view.epochs()[*place].sentence());
    let mut parts: Vec<String> = sentences.collect();
    match (missed.len(), view.size(first) - 1) {
        (0, 0) => parts.push(format!("Nothing is missing: {whose} only {RENEWED}")),
        (0, after) => {
            let after = count(after, "commit");
            parts.push(format!("Nothing is missing: {whose}, and {after} after it, only {RENEWED}"));
        }
        (1, 0) if is_same => parts = vec![format!("Nothing is missing: {whose} did the same")],
        (all, _) => {
            parts[0].insert_str(0, "Undone by this: ");
            let left = all.saturating_sub(TOLD);
            parts.extend((left > 0).then(|| format!("{left} more")));
        }
    }
    match view.messages_from(first) {
        0 => {}
        1 => parts.push("1 message was sent there".into()),
        sent => parts.push(format!("{sent} messages were sent there")),
    }
    format!("{}.", parts.join("; "))
}

/// An epoch and all that follow it.
fn branch(view: &GraphView, first: usize) -> impl Iterator<Item = usize> {
    let mut open = vec![first];
    std::iter::from_fn(move || {
        let place = open.pop()?;
        open.extend(view.children(place));
        Some(place)
    })
}

/// Which of them was here before the one that won: then the head has turned, or will seem to have.
fn came_first(view: &GraphView, won: usize, lost: &[usize]) -> Option<String> {
    let made = |place: usize| view.epochs()[place].made;
    let first = lost.iter().copied().min_by_key(|place| made(*place))?;
    let (first_made, won_made) = (made(first)?, made(won)?);
    let later = won_made.0.checked_sub(first_made.0).filter(|later| *later > 0)?;
    let winner = &view.epochs()[won];
    Some(format!(
        "First here was {}, {} came {} later.",
        whose(&view.epochs()[first]),
        whose(winner),
        span(later)
    ))
}

/// The commit of an epoch, by its author.
fn whose(epoch: &EpochView) -> String {
    match epoch.by.as_deref() {
        Some("you") => "yours".into(),
        Some(by) => format!("{by}'s"),
        None => "an unknown one".into(),
    }
}

/// Names in a row; `all` is how many there are, of which some may not be known.
fn people<'a>(
    credentials: impl Iterator<Item = &'a Credential>,
    all: u32,
    names: &dyn Fn(&Credential) -> String,
) -> String {
    let known: Vec<String> =
        credentials.take(SHOWN).map(|credential| text::name(&names(credential))).collect();
    list(&known, all as usize)
}

/// Words in a row, the last ones counted if they are many; `all` is how many there are.
pub fn list<S: AsRef<str>>(words: &[S], all: usize) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match &words[..] {
        [] if all == 0 => "nobody".into(),
        [] => count(all, "member"),
        [one] if all == 1 => (*one).into(),
        [first @ .., last] if all <= SHOWN && words.len() == all => {
            format!("{} and {last}", first.join(", "))
        }
        words => {
            let shown = &words[..words.len().min(SHOWN - 1)];
            let left = all.saturating_sub(shown.len()).max(1);
            let others = if left == 1 { "1 other".into() } else { format!("{left} others") };
            format!("{} and {others}", shown.join(", "))
        }
    }
}

/// `1 member`, `2 members`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// How long so many seconds are.
pub fn span(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0..60 => return format!("{seconds} s"),
        60..3_600 => return format!("{} min", seconds / 60),
        3_600..86_400 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    count(usize::try_from(number).unwrap_or(usize::MAX), unit)
}

/// How long ago it was; nothing of what is to come.
pub fn ago(made: Option<Time>, now: Option<Time>) -> Option<String> {
    let seconds = now?.0.checked_sub(made?.0)?;
    Some(if seconds < 60 { "just now".into() } else { format!("{} ago", span(seconds)) })
}

/// The whole in a line or two.
pub fn summary(view: &GraphView) -> Vec<String> {
    let forks = match view.forks().count() {
        0 => "no forks".into(),
        forks => count(forks, "fork"),
    };
    let lost = match view.epochs().iter().filter(|epoch| epoch.side == Side::Lost).count() {
        0 => String::new(),
        lost => format!(", {} on branches that lost", count(lost, "epoch")),
    };
    let mut lines = vec![format!("{}, {forks}{lost}", count(view.epochs().len(), "epoch"))];
    if view.is_stranded() {
        lines.push("the branch that won goes where this device can't follow: it has to join again".into());
    }
    lines
}
