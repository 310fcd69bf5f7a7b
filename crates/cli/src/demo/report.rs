//! Whether all members arrived at the same place: compared, not believed. The table, and `--json`.

use dmls::EpochId;
use serde_json::{Value, json};

use super::graph::Graph;
use super::story::Story;
use super::tell::{changes, committer, short};
use super::world::epochs_held;
use crate::Failure;
use crate::graph::words::count;
use crate::graph::{Detail, Drawing, EpochView, lines};
use crate::term::{Ink, hex, pad};

/// More rows than this are drawn together.
const ROWS: usize = 16;

/// The comparison of all members.
pub struct Verdict {
    /// Nothing if they agree; otherwise what is different.
    pub problems: Vec<String>,
    /// The head of the first member.
    pub head: EpochId,
    present: Vec<usize>,
}

impl Verdict {
    pub fn of(story: &Story<'_>) -> Result<Self, Failure> {
        let world = &story.world;
        let present = world.present();
        let first = *present.first().ok_or_else(|| Failure::Failed("nobody is in the group".into()))?;
        let head = world.group(first)?.head().id().clone();
        let mut problems = Vec::new();
        let exported = |who: usize| -> Result<Vec<u8>, Failure> {
            Ok(world.group(who)?.head().export("dmls demo", b"verdict", 32)?.as_bytes().to_vec())
        };
        let secret = exported(first)?;
        for who in &present {
            let (group, name) = (world.group(*who)?, world.name(*who));
            let mut members = world.members(*who)?;
            members.sort_unstable();
            if *group.head().id() != head {
                problems.push(format!("the head of {name} is {}", short(group.head().id())));
            }
            if group.head().authenticator()? != world.group(first)?.head().authenticator()? {
                problems.push(format!("the epoch authenticator of {name} is another"));
            }
            if exported(*who)? != secret {
                problems.push(format!("the exported secret of {name} is another"));
            }
            if members != present {
                problems.push(format!("{name} sees other members than those who are there"));
            }
        }
        if Graph::new(&world.history, &head).by_the_rule() != Some(&head) {
            problems.push("the head is not where the highest tags lead to".into());
        }
        if world.totals.errors > 0 {
            problems.push(format!("{} refused", count(world.totals.errors, "message")));
        }
        Ok(Self { problems, head, present })
    }
}

/// Draws the graph, the table and the sums.
pub fn tell(story: &Story<'_>, verdict: &Verdict) -> Result<(), Failure> {
    let (tell, world) = (&story.tell, &story.world);
    tell.chapter("⑂", "&", "All epochs that ever began")?;
    let all_there = |epoch: &EpochView| match epoch.id == verdict.head && verdict.problems.is_empty() {
        true => "every member is here".to_owned(),
        false => String::new(),
    };
    let view = Graph::new(&world.history, &verdict.head).view().with_notes(all_there);
    let drawing =
        Drawing { look: tell.look, width: None, all: true, detail: Detail::Technical, reasons: false };
    for line in lines(&view, &drawing) {
        tell.line(&format!("  {}", line.paint(tell.look)))?;
    }
    tell.chapter("≡", "=", "Where everybody is")?;
    for line in rows(story, verdict)? {
        tell.line(&format!("  {line}"))?;
    }
    tell.line("")?;
    for line in sums(story) {
        tell.line(&format!("  {line}"))?;
    }
    tell.line("")?;
    if verdict.problems.is_empty() {
        let members = count(verdict.present.len(), "member");
        let text = format!("{members}, equal heads, authenticators, exported secrets");
        let sign = tell.look.sign("✔", "OK:");
        return tell.line(&tell.look.paint(Ink::Good, &format!("{sign} converged: {text}")));
    }
    let sign = tell.look.sign("✘", "FAILED:");
    tell.line(&tell.look.paint(Ink::Bad, &format!("{sign} not converged")))?;
    verdict.problems.iter().try_for_each(|problem| tell.event(problem))
}

fn rows(story: &Story<'_>, verdict: &Verdict) -> Result<Vec<String>, Failure> {
    let (look, world) = (story.tell.look, &story.world);
    let cells = |cells: [&str; 6]| -> String {
        let widths = [9, 11, 13, 7, 7, 0];
        cells.iter().zip(widths).map(|(cell, width)| pad(cell, width)).collect()
    };
    let title = cells(["member", "head", "epochs held", "sent", "read", "state"]);
    let mut lines = vec![look.paint(Ink::Title, &title)];
    let mut hidden = 0;
    for (who, person) in world.people.iter().enumerate() {
        let (sent, read) = (person.sent.to_string(), person.read.to_string());
        let Some(group) = &person.group else {
            let state = look.paint(Ink::Note, person.out.as_deref().unwrap_or("never joined"));
            lines.push(cells([&person.name, "-", "0", &sent, &read, &state]));
            continue;
        };
        let is_in = verdict.present.contains(&who);
        let agrees = *group.head().id() == verdict.head;
        if is_in && agrees && lines.len() > ROWS {
            hidden += 1;
            continue;
        }
        let state = match (is_in, agrees) {
            (true, true) => look.paint(Ink::Good, "in the group"),
            (true, false) => look.paint(Ink::Bad, "on another branch"),
            (false, _) => look.paint(Ink::Note, "removed"),
        };
        let held = format!("{} (max {})", epochs_held(group), person.most_epochs);
        lines.push(cells([&person.name, &short(group.head().id()), &held, &sent, &read, &state]));
    }
    if hidden > 0 {
        lines.push(look.paint(Ink::Faint, &format!("and {hidden} more in the group at the same head")));
    }
    Ok(lines)
}

fn sums(story: &Story<'_>) -> Vec<String> {
    let (world, traffic) = (&story.world, story.world.network.traffic());
    let (read, addressed) = deliveries(story);
    let graph_of_lost: Vec<&EpochId> = story.lost.iter().map(|lost| &lost.epoch).collect();
    let on_lost = world.chats.iter().filter(|chat| graph_of_lost.contains(&&chat.epoch));
    let (lost_read, lost_all) =
        on_lost.fold((0, 0), |(read, all), chat| (read + chat.read_by.len(), all + chat.to.len()));
    let mut lines = vec![
        format!("messages  {} said, {read} of {addressed} deliveries read", world.chats.len()),
        format!("          of those on losing branches {lost_read} of {lost_all}"),
        format!("network   {} packets, {} KiB", traffic.packets, traffic.bytes / 1024),
        format!(
            "          {} dropped and sent again, {} came twice, {} overtaken, {} stuck",
            traffic.dropped, traffic.repeated, traffic.overtaken, traffic.stuck
        ),
        format!(
            "members   held {} until their epoch came, dropped {} copies",
            count(world.totals.held, "message"),
            world.totals.duplicates,
        ),
        format!("          {} came second in a race", count(world.totals.refused, "commit")),
    ];
    if world.totals.evicted > 0 {
        let evicted = count(world.totals.evicted, "message");
        lines.push(format!("          {evicted} had to make room for others while waiting"));
    }
    match &story.lost[..] {
        [] => lines.push("lost      nothing".into()),
        lost => lines.extend(lost.iter().enumerate().map(|(place, lost)| {
            let label = if place == 0 { "lost      " } else { "          " };
            format!("{label}{} {} in epoch {}: {}", lost.committer, lost.change, lost.number, lost.then)
        })),
    }
    lines
}

/// How many deliveries of messages were read, and how many there should be.
pub fn deliveries(story: &Story<'_>) -> (usize, usize) {
    let chats = &story.world.chats;
    (chats.iter().map(|chat| chat.read_by.len()).sum(), chats.iter().map(|chat| chat.to.len()).sum())
}

/// The same as one JSON object.
pub fn json(story: &Story<'_>, verdict: &Verdict, seed: u64) -> Result<Value, Failure> {
    let world = &story.world;
    let graph = Graph::new(&world.history, &verdict.head);
    let id = |id: &EpochId| hex(id.as_bytes());
    let mut heads = serde_json::Map::new();
    let mut removed = Vec::new();
    for (who, person) in world.people.iter().enumerate() {
        match &person.group {
            Some(group) if verdict.present.contains(&who) => {
                heads.insert(person.name.clone(), id(group.head().id()).into());
            }
            _ => removed.push(person.name.clone()),
        }
    }
    let branch = |first: &super::world::Recorded| {
        json!({
            "first": id(&first.id),
            "confirmation_tag": hex(&first.tag),
            "epochs": graph.size(&first.id),
            "won": graph.won(&first.id),
        })
    };
    let forks: Vec<Value> = graph
        .forks()
        .map(|(at, children)| {
            let branches: Vec<Value> = children.into_iter().map(branch).collect();
            json!({ "at": id(&at.id), "number": at.number, "branches": branches })
        })
        .collect();
    let lost: Vec<Value> = story
        .lost
        .iter()
        .map(|lost| {
            json!({
                "epoch": id(&lost.epoch),
                "number": lost.number,
                "committer": lost.committer,
                "change": lost.change,
                "then": lost.then,
            })
        })
        .collect();
    let epochs: Vec<Value> = world
        .history
        .iter()
        .map(|epoch| {
            let commit = epoch.commit.as_ref();
            json!({
                "id": id(&epoch.id),
                "parent": epoch.parent.as_ref().map(id),
                "number": epoch.number,
                "confirmation_tag": hex(&epoch.tag),
                "committer": commit.map(committer),
                "change": commit.map(changes),
                "won": graph.won(&epoch.id),
            })
        })
        .collect();
    let (read, addressed) = deliveries(story);
    let traffic = world.network.traffic();
    Ok(json!({
        "converged": verdict.problems.is_empty(),
        "problems": verdict.problems,
        "seed": seed,
        "heads": heads,
        "removed": removed,
        "forks": forks,
        "delivered": read,
        "addressed": addressed,
        "lost": lost,
        "network": {
            "packets": traffic.packets,
            "bytes": traffic.bytes,
            "dropped": traffic.dropped,
            "repeated": traffic.repeated,
            "overtaken": traffic.overtaken,
            "stuck": traffic.stuck,
        },
        "graph": epochs,
    }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dmls::danger::AcceptAnyCredential;
    use dmls::{CipherSuite, Config};

    use super::*;
    use crate::demo::world::{Change, World};
    use crate::demo::{Args, tell::Teller};
    use crate::term::Look;

    /// The verdict is no formality: a member who misses a commit is found.
    #[test]
    fn whoever_is_elsewhere_is_found() {
        let config = Config::new(AcceptAnyCredential);
        let suite = config.provider.suite(CipherSuite::X25519_AES128).unwrap();
        let look = Look { color: false, unicode: false };
        let tell = Teller { look, silent: true, pace: Duration::ZERO };
        let args = Args {
            seed: None,
            members: 3,
            epochs: 1,
            splits: 1,
            suite: 1,
            plain: false,
            json: true,
            pace: None,
        };
        let mut story = Story::new(World::new(suite, config, 5), tell, &args, 5);
        story.run().unwrap();
        assert!(Verdict::of(&story).unwrap().problems.is_empty());
        let last = *story.world.present().last().unwrap();
        story.world.commit(last, &Change::Update).unwrap();
        let problems = Verdict::of(&story).unwrap().problems.join("; ");
        for part in ["the head of", "authenticator of", "exported secret of", "highest tags"] {
            assert!(problems.contains(part), "{part}: {problems}");
        }
        story.world.run().unwrap();
        assert!(Verdict::of(&story).unwrap().problems.is_empty());
    }
}
