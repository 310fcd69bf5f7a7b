//! What a transcript says of its epochs and members.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::At;
use super::{NOW, Player, World, hex_of, or_null};
use crate::codec::Encode;
use crate::crypto::Secret;
use crate::group::Level;
use crate::key_schedule::EpochId;

impl World<'_> {
    pub(super) fn epoch_name(&self, id: &EpochId) -> String {
        self.ids.iter().position(|known| known == id).map_or_else(String::new, |place| format!("N{place}"))
    }

    /// Writes down what an epoch must come out as.
    pub(super) fn describe(
        &mut self,
        player: usize,
        id: &EpochId,
        parent: Option<&EpochId>,
        secrets: &BTreeMap<&'static str, Vec<u8>>,
        external: bool,
    ) -> Result<(), String> {
        self.ids.push(id.clone());
        let group = self.players[player].group.as_ref().ok_or("a player without a group")?;
        let epoch = group.full(id).at("an epoch")?;
        let reference = group.epoch(id).ok_or("an epoch that is not held")?;
        let context = epoch.context().to_bytes();
        let exported = reference.export("transcript", b"context", 32).at("export")?;
        let members: Vec<Value> = reference
            .members()
            .unwrap_or_default()
            .iter()
            .map(|m| json!({ "leaf_index": m.leaf.0, "name": String::from_utf8_lossy(m.credential.identity().unwrap_or_default()) }))
            .collect();
        let derived = |name: &str| if parent.is_none() { Value::Null } else { or_null(secrets.get(name)) };
        let own = |name: &str| if external { Value::Null } else { derived(name) };
        let parent_init = match (parent, external) {
            (Some(parent), false) => {
                let secret = self.epochs[&hex::encode(parent.as_bytes())]["secrets"]["epoch_secret"].as_str();
                let secret = Secret::new(hex::decode(secret.unwrap_or_default()).at("epoch_secret")?);
                hex_of(self.suite.derive_secret(&secret, "parent_init").as_bytes())
            }
            _ => Value::Null,
        };
        let pprf_input = match (secrets.get("commit_confirmation"), external || parent.is_none()) {
            (Some(confirmation), false) => {
                let confirmation = Secret::new(confirmation.clone());
                let input =
                    self.suite.expand_with_label(&confirmation, "child_init", &context, self.suite.nh());
                hex_of(input.as_bytes())
            }
            _ => Value::Null,
        };
        let described = json!({
            "name": self.epoch_name(id),
            "epoch": epoch.context().epoch,
            "parent_dmls_epoch": parent.map(|parent| hex::encode(parent.as_bytes())),
            "dmls_epoch": hex_of(id.as_bytes()),
            "group_context": hex_of(&context),
            "confirmation_tag": hex_of(epoch.public().confirmation_tag.as_bytes()),
            "epoch_authenticator": hex_of(epoch.secrets.epoch_authenticator.as_bytes()),
            "resumption_psk": hex_of(epoch.secrets.resumption_psk.as_bytes()),
            "exporter": {
                "label": "transcript", "context": hex_of(b"context"), "length": 32,
                "secret": hex_of(exported.as_bytes()),
            },
            "members": members,
            "ratchet_tree": hex_of(&epoch.public().tree.to_bytes()),
            "secrets": {
                "parent_init_secret": parent_init,
                "path_secret_n": derived("path_secret_n"),
                "commit_secret": derived("commit_secret"),
                "commit_confirmation": own("commit_confirmation"),
                "pprf_input": pprf_input,
                "init_secret": derived("init_secret"),
                "psk_secret": derived("psk_secret"),
                "joiner_secret": derived("joiner_secret"),
                "epoch_secret": or_null(secrets.get("epoch_secret")),
            },
        });
        self.epochs.insert(hex::encode(id.as_bytes()), described);
        Ok(())
    }

    pub(super) fn write(&self, name: &str) -> Result<Value, String> {
        let creator = self.players[0].group.as_ref().ok_or("no creator")?;
        let members =
            self.players.iter().enumerate().map(|(i, player)| self.member(i, player)).collect::<Vec<_>>();
        let wire_format = if self.config.encrypt_handshake { "PrivateMessage" } else { "PublicMessage" };
        Ok(json!({
            "format": "dmls-transcript-1",
            "specification": "draft-kohbrok-mls-dmls-02",
            "name": name,
            "cipher_suite": self.suite.code().0,
            "handshake_wire_format": wire_format,
            "ratchet_tree_in_welcome": self.config.ratchet_tree_in_welcome,
            "dmls_extension": self.config.dmls_extension,
            "time": NOW.0,
            "group_id": hex_of(creator.id()),
            "members": members,
            "external_psks": self.psks.0.iter().map(|(id, psk)| json!({ "psk_id": hex_of(id), "psk": hex_of(psk) })).collect::<Vec<_>>(),
            "steps": self.steps,
            "delivery_order": Value::Null,
            "highest_tag_head": self.highest_tag_head(),
            "epochs": self.epochs,
        }))
    }

    fn member(&self, place: usize, player: &Player) -> Value {
        let signer = player.identity.signer();
        let held =
            player.group.as_ref().map_or(0, |g| g.epochs().filter(|e| e.level() == Level::Full).count());
        let mut member = json!({
            "name": self.name(place),
            "identity": hex_of(self.name(place).as_bytes()),
            "signature_priv": hex_of(signer.private().as_bytes()),
            "signature_pub": hex_of(signer.public().as_bytes()),
            "commits": player.commits,
            "sends": player.sends,
            "holds_epochs": held,
        });
        if let Some(own) = &player.key_package {
            member["key_package"] = hex_of(&own.message());
            member["key_package_ref"] = hex_of(own.reference(&self.suite).as_bytes());
            member["init_priv"] = hex_of(own.init_private.as_bytes());
            member["encryption_priv"] = hex_of(own.encryption_private.as_bytes());
        }
        member
    }

    /// Section 6.1.2 of the draft, from the transcript alone: not by our own graph.
    fn highest_tag_head(&self) -> Value {
        let mut head = hex::encode(self.ids[0].as_bytes());
        loop {
            let children = self.epochs.iter().filter(|(_, epoch)| epoch["parent_dmls_epoch"] == head);
            let best = children
                .max_by_key(|(_, epoch)| epoch["confirmation_tag"].as_str().unwrap_or_default().to_string());
            match best {
                Some((id, _)) => head.clone_from(id),
                None => return head.into(),
            }
        }
    }
}
