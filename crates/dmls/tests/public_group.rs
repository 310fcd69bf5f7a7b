//! An observer follows a group with forks, ends where its members end, and nobody without a member's key can lead it
//! elsewhere.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod observed;

use dmls::CommitId;
use dmls::codec::{Decode, Encode};
use dmls::framing::MlsMessage;
use dmls::*;
use observed::{ALICE, BOB, NOW, Observer, World, child, commit_of, damage, mls, rewrap};

#[test]
fn an_observer_follows_adds_proposals_and_a_rejoin() {
    let mut world = World::new();
    let update = world.bob.propose_update(NOW, &mut world.rng).unwrap().apply_unsaved();
    world.alice.receive(&update.message, NOW).unwrap().apply_unsaved();
    let (dave, _) = world.newcomer("dave");
    let add = world.alice.commit().add(dave.key_package().clone()).stage(NOW, &mut world.rng).unwrap();
    let sent = add.apply_unsaved();
    let bundle = world.alice.bundle(&sent.id, NOW).unwrap();
    assert_eq!((bundle.proposals.len(), bundle.welcome.is_some()), (1, true));
    let staged = child(world.observer.stage(&world.root, &bundle));
    assert_eq!((staged.summary.updated.len(), staged.summary.added.len(), staged.is_head), (1, 1, true));
    assert_eq!((&staged.commit, staged.dmls_epoch.as_ref()), (&sent.id, Some(&sent.epoch)));
    world.alice.confirm(&sent.id).unwrap().apply_unsaved();
    world.bob.receive(&sent.message, NOW).unwrap().apply_unsaved();

    // Bob comes back by an external commit.
    let info = world.alice.head().group_info(NOW).unwrap();
    let rejoin = world.bob.rejoin(&world.bobs, &info, Default::default(), NOW, &mut world.rng).unwrap();
    let sent = rejoin.apply_unsaved();
    let bundle = world.bob.bundle(&sent.id, NOW).unwrap();
    let staged = child(world.observer.stage(&staged.commit, &bundle));
    assert!(staged.summary.external && staged.is_head);
    world.alice.receive(&sent.message, NOW).unwrap().apply_unsaved();
    world.assert_follows();
    assert!(world.observer.group.head().is_attested());
    assert_eq!(world.observer.group.epochs().count(), 3);
}

#[test]
fn a_fork_has_the_winner_that_members_see_in_any_order() {
    let mut world = World::new();
    let bundles = [world.alice_commits(), world.bob_commits(), world.carol_commits()];
    for bundle in &bundles {
        world.tell(bundle);
    }
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for order in orders {
        world.observer = Observer::new(&world.info, &world.config);
        for (place, which) in order.into_iter().enumerate() {
            let staged = child(world.observer.stage(&world.root, &bundles[which]));
            assert_eq!(staged.fork, place > 0);
            assert_eq!(staged.head_moved, staged.is_head);
            // What the head left was the only epoch below the root.
            assert_eq!(staged.lost.len(), usize::from(place > 0 && staged.is_head));
        }
        world.assert_follows();
        for bundle in &bundles {
            let known = commit_of(&bundle.commit);
            assert_eq!(world.observer.stage(&world.root, bundle), Ok(StagedCommit::Duplicate { known }));
        }
    }
}

// Who sits on the wire and has no key.

#[test]
fn a_changed_confirmation_tag_is_refused() {
    let mut world = World::new();
    let bundle = world.alice_commits();
    let forged = Bundle { commit: world.with_other_tags(&bundle.commit, 0, 1), ..bundle.clone() };
    world.refused(&forged, Rule::BundleTag);
    // Without the committer's word it is a claim, which is said.
    let root = world.root.clone();
    let claim = child(world.observer.run(|group| group.stage_unattested(&root, &forged.commit, &[])));
    assert!(!world.observer.group.epoch(&claim.commit).unwrap().is_attested());
    // It keeps out neither the true commit nor what follows it.
    let staged = child(world.observer.stage(&root, &bundle));
    world.tell(&bundle);
    let next = world.bob_commits();
    let next = child(world.observer.stage(&staged.commit, &next));
    assert_eq!(next.parent, staged.commit);
}

#[test]
fn copies_with_other_membership_tags_take_nobodys_room() {
    let mut world = World::with_limits(|limits| limits.children_per_committer = 2);
    let bundle = world.alice_commits();
    let copies: Vec<_> = (1..33).map(|n| world.with_other_tags(&bundle.commit, n, 0)).collect();
    for copy in &copies {
        world.refused(&Bundle { commit: copy.clone(), ..bundle.clone() }, Rule::BundleCommit);
    }
    let staged = child(world.observer.stage(&world.root, &bundle));
    // They are the same child, and can't be told apart without the committer's word.
    let before = world.observer.records.clone();
    let root = world.root.clone();
    for copy in &copies {
        let outcome = world.observer.run(|group| group.stage_unattested(&root, copy, &[]));
        assert_eq!(outcome, Ok(StagedCommit::Duplicate { known: staged.commit.clone() }));
    }
    assert_eq!(world.observer.records, before);
    let other = world.bob_commits();
    child(world.observer.stage(&root, &other));

    // Nor do claims that come first stand for the commit, or use up its committer's quota.
    world.observer = Observer::new(&world.info, &world.config);
    world.limit(|limits| limits.children_per_committer = 2);
    child(world.observer.run(|group| group.stage_unattested(&root, &copies[0], &[])));
    for tag in 1..5 {
        let claim = world.with_other_tags(&bundle.commit, 0, tag);
        world.observer.run(|group| group.stage_unattested(&root, &claim, &[])).unwrap();
    }
    child(world.observer.stage(&root, &bundle));
}

#[test]
fn copies_that_their_committer_vouches_for_are_learnt_in_any_order() {
    use dmls::registry::ExtensionType;
    let mut world = World::new();
    let root = world.root.clone();
    let bundle = world.alice_commits();
    let commit = world.with_other_tags(&bundle.commit, 1, 0);
    let (id, copy_id) = (commit_of(&bundle.commit), commit_of(&commit));
    let name = copy_id.as_bytes().to_vec();
    let change = |info: &mut message::GroupInfo| info.extensions.set(ExtensionType::COMMIT_ID, name.clone());
    let group_info = observed::resigned(&bundle.group_info, ALICE, &change);
    let copy = Bundle { commit, group_info, ..bundle.clone() };
    world.tell(&bundle);
    let next = world.bob_commits();
    for order in [[&bundle, &copy], [&copy, &bundle]] {
        world.observer = Observer::new(&world.info, &world.config);
        for bundle in order {
            let learnt = child(world.observer.run(|group| group.learn(&root, bundle)));
            assert_eq!(learnt.commit, commit_of(&bundle.commit));
        }
        // What is made on one of them is not made on the other, too.
        let known = commit_of(&next.commit);
        child(world.observer.run(|group| group.learn(&id, &next)));
        let again = world.observer.run(|group| group.learn(&copy_id, &next));
        assert_eq!(again, Ok(StagedCommit::Duplicate { known }));
        // Who submits one where the other is known is told so.
        world.observer = Observer::new(&world.info, &world.config);
        child(world.observer.stage(&root, order[0]));
        let known = commit_of(&order[0].commit);
        assert_eq!(world.observer.stage(&root, order[1]), Ok(StagedCommit::Duplicate { known }));
    }
}

#[test]
fn a_moved_header_moves_nothing() {
    let mut world = World::new();
    let [one, other] = world.fork();
    let [one_id, other_id] = [&one, &other].map(|bundle| commit_of(&bundle.commit));
    let name = |world: &World, id| world.observer.group.epoch(id).unwrap().dmls_epoch().unwrap().clone();
    let (one_name, other_name) = (name(&world, &one_id), name(&world, &other_id));

    // A commit: its signature says where it belongs, and the header must agree.
    world.alice.confirm(&one_id).unwrap().apply_unsaved();
    let next = world.alice_commits();
    for (parent, header, rule) in [
        (&one_id, &other_name, Rule::EpochHeader),
        (&other_id, &one_name, Rule::EpochHeader),
        (&other_id, &other_name, Rule::ContentSignature),
    ] {
        let moved = Bundle { commit: rewrap(&next.commit, header), ..next.clone() };
        assert_eq!(world.observer.stage(parent, &moved), Err(rule.into()));
    }
    child(world.observer.stage(&one_id, &next));

    // A proposal from outside is signed without the GroupContext.
    let info = world.alice.epoch(&one_name).unwrap().group_info(NOW).unwrap();
    let place = GroupPlace::from_group_info(&info, None, &world.config).unwrap();
    let remove = message::Proposal::Remove(world.carol.head().own_leaf().unwrap());
    let proposal = world.server.propose_as_external_sender(&place, 0, remove).unwrap();
    let observer = &world.observer.group;
    assert!(observer.check_proposal(&one_id, &proposal).is_ok());
    for message in [proposal.clone(), rewrap(&proposal, &other_name)] {
        assert_eq!(observer.check_proposal(&other_id, &message), Err(Rule::EpochHeader.into()));
    }
}

#[test]
fn proposals_leave_nothing_behind() {
    let mut world = World::new();
    let bundle = world.alice_commits();
    let proposals: Vec<_> = (0..100)
        .map(|_| {
            let step = world.bob.propose_remove(world.carol.head().own_leaf().unwrap(), NOW, &mut world.rng);
            step.unwrap().apply_unsaved().message
        })
        .collect();
    let before = world.observer.records.clone();
    for proposal in &proposals {
        world.observer.group.check_proposal(&world.root, proposal).unwrap();
    }
    let proposals = proposals.iter().map(|proposal| mls(proposal)).collect();
    world.refused(&Bundle { proposals, ..bundle.clone() }, Rule::BundleProposals);
    assert_eq!(world.observer.records, before);
    child(world.observer.stage(&world.root, &bundle));
}

#[test]
fn no_byte_of_a_bundle_can_be_changed() {
    let mut world = World::new();
    let update = world.bob.propose_update(NOW, &mut world.rng).unwrap().apply_unsaved();
    world.alice.receive(&update.message, NOW).unwrap().apply_unsaved();
    let bundle = world.alice_commits();
    for place in 0..bundle.commit.len() {
        let commit = damage(&bundle.commit, place);
        assert!(world.observer.stage(&world.root, &Bundle { commit, ..bundle.clone() }).is_err(), "{place}");
    }
    for place in 0..bundle.group_info.len() {
        let group_info = damage(&bundle.group_info, place);
        let damaged = Bundle { group_info, ..bundle.clone() };
        assert!(world.observer.stage(&world.root, &damaged).is_err(), "{place}");
    }
    // A member's membership tag is all that is not under a signature here.
    let tag = bundle.proposals[0].len() - world.alice.suite().nh();
    for place in 0..tag - 1 {
        let proposals = vec![damage(&bundle.proposals[0], place)];
        assert!(
            world.observer.stage(&world.root, &Bundle { proposals, ..bundle.clone() }).is_err(),
            "{place}"
        );
    }
    child(world.observer.stage(&world.root, &bundle));
}

// Each check of a bundle.

#[test]
fn what_is_too_large_is_refused() {
    let mut world = World::new();
    let bundle = world.alice_adds_dave_with_bobs_update();
    #[allow(clippy::type_complexity, reason = "a table")]
    let parts: [(&str, fn(&mut Bundle) -> &mut Vec<u8>); 4] = [
        ("commit", |bundle| &mut bundle.commit),
        ("proposal", |bundle| &mut bundle.proposals[0]),
        ("welcome", |bundle| bundle.welcome.as_mut().unwrap()),
        ("group_info", |bundle| &mut bundle.group_info),
    ];
    let mut bundle = bundle;
    let largest = parts.iter().map(|(_, part)| part(&mut bundle).len()).max().unwrap();
    world.limit(|limits| limits.message_size = largest);
    for (name, part) in parts {
        let mut large = bundle.clone();
        part(&mut large).resize(largest + 1, 0);
        assert_eq!(world.observer.stage(&world.root, &large), Err(Limit::MessageSize.into()), "{name}");
    }
    child(world.observer.stage(&world.root, &bundle));
}

#[test]
fn a_commit_must_be_one_of_this_group_and_parent() {
    let mut world = World::new();
    let bundle = world.alice_commits();
    let with = |commit: Vec<u8>| Bundle { commit, ..bundle.clone() };
    let text = world.alice.send(b"nobody else reads this").seal(&mut world.rng).unwrap().apply_unsaved();
    world.refused(&with(text), Rule::MessageKind);
    let proposal = world.bob.propose_update(NOW, &mut world.rng).unwrap().apply_unsaved().message;
    world.refused(&with(proposal.clone()), Rule::MessageKind);
    assert_eq!(
        world.observer.group.check_proposal(&world.root, &bundle.commit),
        Err(Rule::MessageKind.into())
    );
    let mut stranger = World::seeded(observed::config(), 12);
    let foreign = stranger.alice_commits();
    world.refused(&with(foreign.commit.clone()), Rule::GroupId);
    // Without its header it is not a message.
    let bare = with(mls(&bundle.commit));
    assert!(matches!(world.observer.stage(&world.root, &bare), Err(Error::Malformed(_))));
    world.refused(&with(rewrap(&bundle.commit, &EpochId::from(vec![7; 32]))), Rule::EpochHeader);
    world.refused(&with(rewrap(&bundle.commit, &EpochId::from(vec![7; 31]))), Rule::EpochIdLength);
    let nowhere = CommitId::from(vec![7; 32]);
    assert_eq!(world.observer.stage(&nowhere, &bundle), Err(Usage::UnknownEpoch.into()));
    // Its number.
    let later = world.change_public(&bundle.commit, |message| message.content.epoch += 1);
    world.refused(&with(later), Rule::EpochHeader);
    let unsigned = world.change_public(&bundle.commit, |message| {
        message.auth.signature = vec![7; 64].into();
    });
    world.refused(&with(unsigned), Rule::ContentSignature);
}

#[test]
fn the_proposals_are_exactly_those_of_the_commit() {
    let mut world = World::new();
    let bundle = world.alice_adds_dave_with_bobs_update();
    let with = |proposals: Vec<Vec<u8>>| Bundle { proposals, ..bundle.clone() };
    let own = bundle.proposals[0].clone();
    world.refused(&with(vec![]), Rule::ProposalUnknown);
    world.refused(&with(vec![own.clone(), own.clone()]), Rule::BundleProposals);
    let other = mls(&world.carol.propose_update(NOW, &mut world.rng).unwrap().apply_unsaved().message);
    world.refused(&with(vec![other.clone()]), Rule::BundleProposals);
    world.refused(&with(vec![own.clone(), other]), Rule::BundleProposals);
    world.refused(&with(vec![bundle.group_info.clone()]), Rule::MessageKind);
    world.refused(&with(vec![mls(&bundle.commit)]), Rule::MessageKind);
    let unsigned = world.change_bare(&own, |message| message.auth.signature = vec![7; 64].into());
    world.refused(&with(vec![unsigned]), Rule::ContentSignature);
    let elsewhere = world.change_bare(&own, |message| message.content.epoch += 1);
    world.refused(&with(vec![elsewhere]), Rule::Epoch);
    child(world.observer.stage(&world.root, &bundle));
}

#[test]
fn the_committer_vouches_for_the_child() {
    use dmls::registry::ExtensionType;
    let mut world = World::new();
    let bundle = world.alice_commits();
    let parents = world.alice.head().group_info(NOW).unwrap();
    let with = |group_info: Vec<u8>| Bundle { group_info, ..bundle.clone() };
    world.refused(&with(mls(&bundle.commit)), Rule::MessageKind);
    world.refused(&with(parents), Rule::BundleContext);
    let forged = |by: [u8; 32], change: &dyn Fn(&mut message::GroupInfo)| {
        with(observed::resigned(&bundle.group_info, by, change))
    };
    world.refused(&forged(ALICE, &|info| info.group_context.epoch += 1), Rule::BundleContext);
    let other_tag = |info: &mut message::GroupInfo| info.confirmation_tag = vec![9; 32].into();
    world.refused(&forged(ALICE, &other_tag), Rule::BundleTag);
    world.refused(&forged(BOB, &|info| info.signer = LeafIndex(1)), Rule::BundleSigner);
    world.refused(&forged(BOB, &|_| ()), Rule::GroupInfoSignature);
    let other_commit = |info: &mut message::GroupInfo| {
        info.extensions.set(ExtensionType::COMMIT_ID, vec![9; 32]);
    };
    world.refused(&forged(ALICE, &other_commit), Rule::BundleCommit);
    let no_commit = |info: &mut message::GroupInfo| info.extensions.remove(ExtensionType::COMMIT_ID);
    world.refused(&forged(ALICE, &no_commit), Rule::BundleCommit);
    let no_name = |info: &mut message::GroupInfo| info.extensions.remove(ExtensionType::DMLS_EPOCH);
    world.refused(&forged(ALICE, &no_name), Rule::BundleEpoch);
    for name in [ExtensionType::COMMIT_ID, ExtensionType::DMLS_EPOCH] {
        let short = |info: &mut message::GroupInfo| info.extensions.set(name, vec![9; 31]);
        world.refused(&forged(ALICE, &short), Rule::GroupInfoName);
    }
    // What is forged without a change is accepted.
    child(world.observer.stage(&world.root, &forged(ALICE, &|_| ())));
}

#[test]
fn the_welcome_is_for_those_whom_the_commit_adds() {
    let mut world = World::new();
    let without = world.alice_commits();
    let bundle = world.alice_adds_dave_with_bobs_update();
    let with = |welcome: Option<Vec<u8>>| Bundle { welcome, ..bundle.clone() };
    let welcome = bundle.welcome.clone().unwrap();
    let changed = |change: &dyn Fn(&mut message::Welcome)| {
        let MlsMessage::Welcome(mut welcome) = MlsMessage::from_bytes(&welcome).unwrap() else { panic!() };
        change(&mut welcome);
        with(Some(MlsMessage::Welcome(welcome).to_bytes()))
    };
    world.refused(&with(None), Rule::BundleWelcome);
    world.refused(&with(Some(bundle.group_info.clone())), Rule::MessageKind);
    world.refused(&changed(&|welcome| welcome.secrets.clear()), Rule::BundleWelcome);
    world.refused(&changed(&|welcome| welcome.secrets.push(welcome.secrets[0].clone())), Rule::BundleWelcome);
    world.refused(
        &changed(&|welcome| welcome.secrets[0].new_member = vec![9; 32].into()),
        Rule::BundleWelcome,
    );
    world.refused(
        &changed(&|welcome| welcome.cipher_suite = CipherSuite::X25519_CHACHA20),
        Rule::BundleWelcome,
    );
    world.refused(&Bundle { welcome: Some(welcome.clone()), ..without.clone() }, Rule::BundleWelcome);
    let empty = changed(&|welcome| welcome.secrets.clear()).welcome;
    world.refused(&Bundle { welcome: empty, ..without }, Rule::BundleWelcome);
    child(world.observer.stage(&world.root, &bundle));
}

#[test]
fn the_end_of_a_group_is_remembered() {
    let mut world = World::new();
    let reinit = message::ReInit {
        group_id: b"next".to_vec(),
        version: registry::ProtocolVersion::MLS10,
        cipher_suite: world.alice.suite().code(),
        extensions: world.alice.head().context_extensions().unwrap().clone(),
    };
    let commit = world.alice.commit().reinit(reinit).stage(NOW, &mut world.rng).unwrap().apply_unsaved();
    let last = world.alice.bundle(&commit.id, NOW).unwrap();
    child(world.observer.stage(&world.root, &last));
    world.observer.restart();
    assert!(world.observer.group.head().commit().unwrap().reinit.is_some());
}

#[test]
fn a_known_commit_is_a_duplicate_only_where_it_belongs() {
    let mut world = World::new();
    let [one, other] = world.fork();
    let [one_id, other_id] = [&one, &other].map(|bundle| commit_of(&bundle.commit));
    assert_eq!(world.observer.stage(&other_id, &one), Err(Rule::EpochHeader.into()));
    // Another commit with the same tag, or the same commit with another, is another epoch.
    let root = world.root.clone();
    let tag = observed::tag_of(&one.commit);
    let carols = world.carol_commits();
    let borrowed = world.change_public(&carols.commit, |message| {
        message.auth.confirmation_tag = Some(tag.into());
    });
    child(world.observer.run(|group| group.stage_unattested(&root, &borrowed, &[])));
    let changed = world.with_other_tags(&one.commit, 0, 1);
    child(world.observer.run(|group| group.stage_unattested(&root, &changed, &[])));
    assert_eq!(world.observer.stage(&root, &one), Ok(StagedCommit::Duplicate { known: one_id }));
}

#[test]
fn a_proposal_is_judged_by_itself() {
    let world = World::new();
    let place = GroupPlace::from_group_info(&world.info, None, &world.config).unwrap();
    let nobody = message::Proposal::Remove(LeafIndex(99));
    let proposal = world.server.propose_as_external_sender(&place, 0, nobody).unwrap();
    let answer = world.observer.group.check_proposal(&world.root, &proposal);
    assert_eq!(answer, Err(Rule::RemoveTarget.into()));
}

// What the group's ruleset says.

#[test]
fn the_ruleset_decides_about_quotas_and_external_joins() {
    let ruleset = extension::Ruleset {
        external_joins: extension::ExternalJoins::NONE,
        children_per_committer: 1,
        ..Default::default()
    };
    let mut world = World::of(Config { ruleset: Some(ruleset), ..observed::config() });
    let bundle = world.alice_commits();
    let key = world.info.clone();
    let offering = observed::resigned(&bundle.group_info, ALICE, &|info| {
        info.extensions.set_content(&extension::ExternalPub { external_pub: key[..32].to_vec().into() });
    });
    world.refused(&Bundle { group_info: offering, ..bundle.clone() }, Rule::BundleExternalPub);
    child(world.observer.stage(&world.root, &bundle));
    let flood: Vec<_> = (0..8).map(|_| world.bob_commits_unsent()).collect();
    let tags: Vec<_> = flood.iter().map(|bundle| observed::tag_of(&bundle.commit)).collect();
    let lowest = tags.iter().min().unwrap();
    let (last, first): (Vec<_>, Vec<_>) = flood.iter().zip(&tags).partition(|(_, tag)| *tag == lowest);
    for (bundle, _) in first {
        world.observer.stage(&world.root, bundle).unwrap();
    }
    let commit = commit_of(&last[0].0.commit);
    assert_eq!(world.observer.stage(&world.root, last[0].0), Ok(StagedCommit::Lost { commit }));
}

#[test]
fn each_leaf_shows_the_server_that_speaks_for_it() {
    let world = World::new();
    let members = world.observer.group.head().members();
    let homes: Vec<_> = members.iter().map(|member| member.home.clone()).collect();
    assert_eq!(homes, [None, None, Some(world.home.clone())]);
}

#[test]
fn the_members_that_a_commit_makes_are_seen_before_it_is_taken() {
    let mut world = World::new();
    let root = world.root.clone();
    let bundle = world.alice_adds_dave_with_bobs_update();
    let before = world.observer.group.head().members();
    let made = world.observer.group.stage(&root, &bundle).unwrap().members();
    assert_eq!(world.observer.group.head().members(), before);
    child(world.observer.stage(&root, &bundle));
    assert_eq!(made, world.observer.group.head().members());
    assert_eq!(made.len(), before.len() + 1);
    // A duplicate makes none.
    assert!(world.observer.group.stage(&root, &bundle).unwrap().members().is_empty());
}

// Quotas.

#[test]
fn a_flood_of_one_member_keeps_nobody_out() {
    let mut world = World::with_limits(|limits| limits.children_per_committer = 2);
    let flood: Vec<_> = (0..12).map(|_| world.bob_commits_unsent()).collect();
    let mut kept = Vec::new();
    let mut lost = Vec::new();
    for bundle in &flood {
        let (id, tag) = (commit_of(&bundle.commit), observed::tag_of(&bundle.commit));
        let best = kept.iter().map(|(_, tag)| tag).max();
        let wins = best.is_none_or(|best| tag > *best);
        match world.observer.stage(&world.root, bundle).unwrap() {
            StagedCommit::Child(staged) => {
                assert!(wins || kept.len() < 2);
                let lowest = kept.iter().min_by_key(|(_, tag)| tag.clone()).map(|(id, _)| id).cloned();
                assert_eq!(staged.over_quota, lowest.filter(|_| kept.len() >= 2));
                kept.push((id, tag));
            }
            StagedCommit::Lost { commit } => {
                assert!(!wins && kept.len() >= 2);
                lost.push((commit, bundle));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(!lost.is_empty());
    // Others have room, whether they win or not.
    for bundle in [world.alice_commits(), world.carol_commits()] {
        child(world.observer.stage(&world.root, &bundle));
    }
    // What delivery services agreed on has no quota; neither has what is final.
    let (commit, bundle) = &lost[0];
    let root = world.root.clone();
    let learnt = child(world.observer.run(|group| group.learn(&root, bundle)));
    assert_eq!(learnt.commit, *commit);
    if let Some((commit, bundle)) = lost.get(1) {
        world.observer.run(|group| group.finalize(commit)).unwrap();
        assert!(child(world.observer.stage(&root, bundle)).is_head);
    }
}

#[test]
fn who_comes_back_has_the_quota_of_its_old_leaf() {
    let mut world = World::with_limits(|limits| limits.children_per_committer = 1);
    let first = world.bob_commits();
    child(world.observer.stage(&world.root, &first));
    let rejoin = world.bob.rejoin(&world.bobs, &world.info, Default::default(), NOW, &mut world.rng).unwrap();
    let sent = rejoin.apply_unsaved();
    let bundle = world.bob.bundle(&sent.id, NOW).unwrap();
    match world.observer.stage(&world.root, &bundle).unwrap() {
        StagedCommit::Child(staged) => assert_eq!(staged.over_quota, Some(commit_of(&first.commit))),
        StagedCommit::Lost { commit } => assert_eq!(commit, sent.id),
        other => panic!("{other:?}"),
    }
}

// Verdicts, as members follow them.

#[test]
fn verdicts_turn_the_head_as_they_turn_a_members() {
    let mut world = World::new();
    let bundles = [world.alice_commits(), world.bob_commits(), world.carol_commits()];
    for bundle in &bundles {
        world.tell(bundle);
        child(world.observer.stage(&world.root, bundle));
    }
    let mut ids: Vec<_> = bundles.iter().map(|bundle| commit_of(&bundle.commit)).collect();
    ids.sort_by_key(|id| world.observer.group.epoch(id).unwrap().confirmation_tag().as_bytes().to_vec());
    let [low, middle, high] = <[CommitId; 3]>::try_from(ids).unwrap();
    let root = world.root.clone();
    world.assert_follows();
    world.verdict(|group| group.block(&high), |observer| observer.block(&high));
    assert_eq!(world.observer.group.head().commit_id(), &middle);
    assert!(world.observer.group.epoch(&high).unwrap().is_blocked());
    world.verdict(|group| group.block(&middle), |observer| observer.block(&middle));
    world.verdict(|group| Ok(group.unblock(&high)), |observer| Ok(observer.unblock(&high)));
    assert_eq!(world.observer.group.head().commit_id(), &high);
    let turn = world.verdict(|group| group.finalize(&low), |observer| observer.finalize(&low));
    assert_eq!((turn.head_moved, turn.lost.len(), turn.known), (true, 1, true));
    assert!(world.observer.group.epoch(&root).unwrap().is_final());
    // What is final is followed although it is blocked.
    world.verdict(|group| group.block(&low), |observer| observer.block(&low));
    assert_eq!(world.observer.group.head().commit_id(), &low);
}

#[test]
fn verdicts_may_come_before_their_commits() {
    let mut world = World::new();
    let bundles = [world.alice_commits(), world.bob_commits()];
    let [one, other] = [0, 1].map(|which: usize| commit_of(&bundles[which].commit));
    let tags = [0, 1].map(|which: usize| observed::tag_of(&bundles[which].commit));
    let (low, high) = if tags[0] < tags[1] { (one, other) } else { (other, one) };
    let turn = world.verdict(|group| group.finalize(&low), |observer| observer.finalize(&low));
    assert!(!turn.known && !turn.head_moved);
    for bundle in &bundles {
        child(world.observer.stage(&world.root, bundle));
    }
    assert_eq!(world.observer.group.head().commit_id(), &low);
    assert!(!world.observer.group.epoch(&high).unwrap().is_on_way());

    let mut world = World::with_limits(|limits| limits.known_epochs = 2);
    let unknown = |n: u8| CommitId::from(vec![n; 32]);
    for n in [1, 2] {
        world.observer.run(|group| group.finalize(&unknown(n))).unwrap();
        world.observer.run(|group| group.block(&unknown(n))).unwrap();
    }
    let full = Err(Limit::Verdicts.into());
    assert_eq!(world.observer.run(|group| group.finalize(&unknown(3))), full);
    assert_eq!(world.observer.run(|group| group.block(&unknown(3))), full);
}

#[test]
fn only_the_caller_forgets_and_never_what_the_way_needs() {
    let mut world = World::new();
    let [one, other] = world.fork();
    for bundle in [&one, &other] {
        world.tell(bundle);
    }
    let head = world.observer.group.head().commit_id().clone();
    let lost = [&one, &other].map(|bundle| commit_of(&bundle.commit)).into_iter().find(|id| *id != head);
    let (root, lost) = (world.root.clone(), lost.unwrap());
    let next = world.carol_commits();
    let next = child(world.observer.stage(&head, &next));
    let refused = Err(Usage::ForgetsWay.into());
    let forget = |world: &mut World, commit: &CommitId| world.observer.run(|group| group.forget(commit));
    for needed in [&root, &head, &next.commit] {
        assert_eq!(forget(&mut world, needed), refused);
    }
    assert_eq!(forget(&mut world, &CommitId::from(vec![7; 32])), Err(Usage::UnknownEpoch.into()));
    world.observer.run(|group| group.block(&lost)).unwrap();
    assert_eq!(forget(&mut world, &lost), Ok(vec![lost.clone()]));
    assert_eq!(forget(&mut world, &root), Ok(vec![root.clone()]));
    assert_eq!(forget(&mut world, &head), Ok(vec![head.clone()]));
    assert_eq!(forget(&mut world, &next.commit), refused);
    assert_eq!(world.observer.group.head().commit_id(), &next.commit);
    assert_eq!(world.observer.group.epochs().count(), 1);
    let bundle = if commit_of(&one.commit) == lost { &one } else { &other };
    assert_eq!(world.observer.stage(&root, bundle), Err(Usage::UnknownEpoch.into()));
}

#[test]
fn a_lost_branch_is_forgotten_whole_unless_it_is_final() {
    let mut world = World::new();
    let [one, other] = world.fork();
    // Each goes on, on its own branch.
    for (group, bundle) in [(&mut world.alice, &one), (&mut world.bob, &other)] {
        let id = commit_of(&bundle.commit);
        group.confirm(&id).unwrap().apply_unsaved();
        let sent = group.commit().stage(NOW, &mut world.rng).unwrap().apply_unsaved();
        let next = group.bundle(&sent.id, NOW).unwrap();
        child(world.observer.stage(&id, &next));
    }
    assert_eq!(world.observer.group.epochs().count(), 5);
    let on_way = |world: &World, bundle: &Bundle| {
        world.observer.group.epoch(&commit_of(&bundle.commit)).unwrap().is_on_way()
    };
    let lost = commit_of(if on_way(&world, &one) { &other.commit } else { &one.commit });
    let gone = world.observer.run(|group| group.forget(&lost)).unwrap();
    assert_eq!((gone.len(), gone.last()), (2, Some(&lost)));
    assert_eq!(world.observer.group.epochs().count(), 3);

    let (winner, loser) = if lost == commit_of(&one.commit) { (&other, &one) } else { (&one, &other) };
    child(world.observer.stage(&world.root, loser));
    for commit in [&lost, &commit_of(&winner.commit)] {
        world.observer.run(|group| group.finalize(commit)).unwrap();
    }
    assert!(!on_way(&world, loser));
    assert_eq!(world.observer.run(|group| group.forget(&lost)), Err(Usage::ForgetsWay.into()));
}

// Storage.

#[test]
fn a_step_that_is_dropped_or_not_written_has_not_happened() {
    let mut world = World::new();
    let bundle = world.alice_commits();
    let (before, root) = (world.observer.snapshot(), world.root.clone());
    drop(world.observer.group.stage(&root, &bundle).unwrap());
    let step = world.observer.group.stage(&root, &bundle).unwrap();
    assert_eq!(step.persist(|_, _| Err("disk full")), Err("disk full"));
    assert_eq!(world.observer.snapshot(), before);
    let founding = PublicGroup::begin(&world.info, None, world.config.clone()).unwrap();
    assert_eq!(founding.group().id(), world.alice.id());
    assert_eq!(founding.persist(|_| Err("disk full")).unwrap_err(), "disk full");
    child(world.observer.stage(&root, &bundle));
}

#[test]
fn loading_refuses_what_does_not_fit() {
    let mut world = World::new();
    let [one, other] = world.fork();
    for bundle in [&one, &other] {
        world.tell(bundle);
    }
    let next = world.carol_commits();
    let head = world.observer.group.head().commit_id().clone();
    let next = child(world.observer.stage(&head, &next));
    world.observer.run(|group| group.finalize(&head)).unwrap();
    world.observer.run(|group| group.block(&next.commit)).unwrap();
    world.observer.restart();
    let records = world.observer.records.clone();
    let load = |records: &observed::Records| PublicGroup::load(records, world.config.clone());
    for (key, value) in &records {
        let mut without = records.clone();
        without.remove(key);
        // What was said of a commit stands for itself.
        if !matches!(key[0], b'f' | b'b') {
            assert!(matches!(load(&without), Err(Error::Records(_))), "without {key:?}");
        }
        for place in [0, value.len() / 2, value.len() - 1] {
            let damaged = observed::Records::from([(key.clone(), damage(value, place))]);
            let damaged = records.clone().into_iter().chain(damaged).collect();
            assert!(matches!(load(&damaged), Err(Error::Records(_))), "{key:?} at {place}");
        }
    }
    let mut stranger = World::seeded(observed::config(), 12);
    let foreign = stranger.alice_commits();
    child(stranger.observer.stage(&stranger.root, &foreign));
    for kind in [b'c', b't'] {
        let foreign = stranger.observer.records.iter().filter(|(key, _)| key[0] == kind);
        let foreign = foreign.map(|(key, value)| (key.clone(), value.clone()));
        let mixed = records.clone().into_iter().chain(foreign).collect();
        assert!(matches!(load(&mixed), Err(Error::Records(_))), "{}", char::from(kind));
    }
    // A member's records are not an observer's.
    let members = observed::records_of(&world.alice.snapshot());
    assert!(matches!(load(&members), Err(Error::Records(_))));
    assert!(matches!(Group::load(&records, world.config.clone()), Err(Error::Records(_))));
    let rfc = Config { schedule: KeySchedule::Rfc9420, ..world.config.clone() };
    assert!(matches!(PublicGroup::load(&records, rfc), Err(Error::Records(RecordsError::Schedule))));
}

// Groups of RFC 9420 alone.

#[test]
fn a_group_of_the_rfc_is_followed_unattested() {
    let mut world = World::of(Config { schedule: KeySchedule::Rfc9420, ..observed::config() });
    let update = world.bob.propose_update(NOW, &mut world.rng).unwrap().apply_unsaved();
    world.alice.receive(&update.message, NOW).unwrap().apply_unsaved();
    let bundle = world.alice_commits();
    // Its root has no name but the GroupInfo's hash, and its GroupInfos vouch for no commit.
    let info = MlsMessage::from_bytes(&world.info).unwrap();
    assert_eq!(world.root, info.commit_id(world.alice.suite()));
    world.refused(&bundle, Rule::BundleCommit);
    let root = world.root.clone();
    let staged = world.observer.run(|group| group.stage_unattested(&root, &bundle.commit, &bundle.proposals));
    let staged = child(staged);
    assert_eq!((staged.dmls_epoch, staged.summary.updated.len()), (None, 1));
}
