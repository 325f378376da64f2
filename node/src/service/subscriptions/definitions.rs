//! Subscriptions as they are registered: made, changed, looked at and removed.

use std::sync::Arc;

use prost::Message as _;
use reckon_api::{Reason, v1};
use tonic::Status;

use super::SubscriptionsService;
use super::on_leader::Leading;
use crate::delivery::definition::Definition;
use crate::delivery::emitter::Order;
use crate::delivery::source::{Source, Start};
use crate::engine::{
    Outcome, StateReader, SubscriptionCommand, SubscriptionState, SubscriptionTarget,
};
use crate::limits;
use crate::service::{admission, wire};

/// A subscription that was found.
#[derive(Debug, Clone)]
pub(super) struct FoundSubscription {
    pub name: String,
    pub state: Arc<SubscriptionState>,
}

impl FoundSubscription {
    /// What commands name.
    pub fn target(&self) -> SubscriptionTarget {
        SubscriptionTarget { name: self.name.clone(), id: self.state.id }
    }

    pub fn definition(&self) -> Result<v1::SubscriptionDefinition, Status> {
        wire::decode_definition(&self.state.definition)
    }
}

/// Finds a subscription by its name or its key.
pub(super) fn find(
    reader: &StateReader,
    asked: Option<&v1::SubscriptionRef>,
) -> Result<FoundSubscription, Status> {
    use v1::subscription_ref::Kind;
    match asked.and_then(|asked| asked.kind.as_ref()) {
        None => Err(Reason::InvalidArgument.status(
            "subscription is empty; say which one by name or by key",
            [("field", "subscription"), ("value", "")],
        )),
        Some(Kind::Name(name)) => {
            let state = reader.subscription(name);
            let state = state.ok_or_else(|| wire::subscription_not_found(name))?;
            Ok(FoundSubscription { name: name.clone(), state })
        }
        Some(Kind::Key(key)) => {
            let key = key.to_ascii_lowercase();
            let subscriptions = reader.subscriptions();
            let found = subscriptions.iter().find(|(name, _)| wire::subscription_key(name) == key);
            let (name, state) = found.ok_or_else(|| wire::subscription_not_found(&key))?;
            Ok(FoundSubscription { name: name.to_owned(), state: Arc::clone(state) })
        }
    }
}

impl SubscriptionsService {
    pub(super) async fn create_here(
        &self,
        leading: Leading,
        request: v1::CreateSubscriptionRequest,
    ) -> Result<v1::CreateSubscriptionResponse, Status> {
        let definition = self.checked(request.definition).await?;
        let name = definition.name.clone();
        let encoded = definition.encode_to_vec().into();
        let command = SubscriptionCommand::Create { name: name.clone(), definition: encoded };
        let (state, created) = registered(leading.decide(command).await?)?;
        let subscription = Some(self.shown(&name, &state).await?);
        Ok(v1::CreateSubscriptionResponse { subscription, created })
    }

    pub(super) async fn update_here(
        &self,
        leading: Leading,
        request: v1::UpdateSubscriptionRequest,
    ) -> Result<v1::UpdateSubscriptionResponse, Status> {
        let definition = self.checked(request.definition).await?;
        loop {
            let found = named(&leading.member.reader(), &definition.name)?;
            let before = found.definition()?;
            if let Some(field) = wire::unchangeable_difference(&before, &definition) {
                return Err(Reason::SubscriptionExists.status(
                    format!(
                        "definition.{field} decides which events there are, and cannot be changed; \
                         delete the subscription, or create another one"
                    ),
                    [("field", format!("definition.{field}")), ("subscription", found.name)],
                ));
            }
            let command = SubscriptionCommand::Update {
                target: found.target(),
                revision: found.state.revision,
                definition: definition.encode_to_vec().into(),
            };
            match self.change(&leading, &found.name, command).await {
                // Somebody else was faster: look again.
                Err(status) if Reason::of(&status) == Some(Reason::SubscriptionChanged) => {}
                decided => {
                    let (state, changed) = registered(decided?)?;
                    let subscription = Some(self.shown(&found.name, &state).await?);
                    return Ok(v1::UpdateSubscriptionResponse { subscription, changed });
                }
            }
        }
    }

    pub(super) async fn get_here(
        &self,
        leading: Leading,
        request: v1::GetSubscriptionRequest,
    ) -> Result<v1::GetSubscriptionResponse, Status> {
        let found = find(&leading.member.reader(), request.subscription.as_ref())?;
        let subscription = Some(self.shown(&found.name, &found.state).await?);
        Ok(v1::GetSubscriptionResponse { subscription })
    }

    pub(super) async fn list_here(
        &self,
        leading: Leading,
        request: v1::ListSubscriptionsRequest,
    ) -> Result<v1::ListSubscriptionsResponse, Status> {
        let page_size = page_size(request.page_size)?;
        let wanted = wire::subscription_type(&request.r#type)?;
        let all = leading.member.reader().subscriptions();
        let mut subscriptions = Vec::new();
        let mut next_page_token = String::new();
        for (name, state) in all.after(&request.page_token) {
            if !name.starts_with(&request.prefix) {
                continue;
            }
            let definition = wire::decode_definition(&state.definition)?;
            if wanted.is_some_and(|wanted| wanted != definition.r#type) {
                continue;
            }
            if subscriptions.len() == page_size {
                next_page_token = last_name(&subscriptions);
                break;
            }
            subscriptions.push(self.shown(name, state).await?);
        }
        Ok(v1::ListSubscriptionsResponse { subscriptions, next_page_token })
    }

    pub(super) async fn delete_here(
        &self,
        leading: Leading,
        request: v1::DeleteSubscriptionRequest,
    ) -> Result<v1::DeleteSubscriptionResponse, Status> {
        let wanted = wire::subscription_type(&request.r#type)?;
        let found = find(&leading.member.reader(), request.subscription.as_ref())?;
        let is_of = found.definition()?.r#type;
        if wanted.is_some_and(|wanted| wanted != is_of) {
            return Err(Reason::SubscriptionNotFound.status(
                format!("subscription {:?} is of the type {is_of}", found.name),
                [("subscription", found.name), ("type", is_of)],
            ));
        }
        let command = SubscriptionCommand::Delete { target: found.target() };
        self.change(&leading, &found.name, command).await?;
        Ok(v1::DeleteSubscriptionResponse {})
    }

    #[allow(clippy::unused_async, reason = "as all that answer at the leader")]
    pub(super) async fn exists_here(
        &self,
        leading: Leading,
        request: v1::ExistsSubscriptionRequest,
    ) -> Result<v1::ExistsSubscriptionResponse, Status> {
        match find(&leading.member.reader(), request.subscription.as_ref()) {
            Ok(_) => Ok(v1::ExistsSubscriptionResponse { exists: true }),
            Err(status) if Reason::of(&status) == Some(Reason::SubscriptionNotFound) => {
                Ok(v1::ExistsSubscriptionResponse { exists: false })
            }
            Err(status) => Err(status),
        }
    }

    pub(super) async fn reset_here(
        &self,
        leading: Leading,
        request: v1::ResetSubscriptionRequest,
    ) -> Result<v1::ResetSubscriptionResponse, Status> {
        let found = find(&leading.member.reader(), request.subscription.as_ref())?;
        if request.to.is_none_or(|to| to.kind.is_none()) {
            return Err(Reason::InvalidArgument.status(
                "to is empty; say where the subscription goes on",
                [("field", "to"), ("value", "")],
            ));
        }
        let message = found.definition()?;
        let to = wire::start_from(request.to, message.selector.as_ref(), "to")?;
        let target = found.target();
        let next_position = admission::look(&leading.member, leading.deadline, move |reader| {
            Ok(Definition::compile(message)
                .map_err(|error| Reason::Internal.plain(error.to_string()))
                .and_then(|definition| {
                    let mut source = Source::new(definition.selector, start_of(&to));
                    source.begin(reader).map_err(wire::read_failed)
                }))
        })
        .await
        .flatten()?;
        let command = SubscriptionCommand::Reset { target, next_position };
        let (state, _) = registered(self.change(&leading, &found.name, command).await?)?;
        let subscription = Some(self.shown(&found.name, &state).await?);
        Ok(v1::ResetSubscriptionResponse { subscription })
    }

    /// A definition that can be used, with every default filled in.
    async fn checked(
        &self,
        definition: Option<v1::SubscriptionDefinition>,
    ) -> Result<v1::SubscriptionDefinition, Status> {
        let mut definition = wire::definition(definition)?;
        let compiling = definition.clone();
        let offload = &self.admission.node.environment().offload;
        let compiled = offload.run(move || Definition::compile(compiling)).await;
        let compiled = compiled.map_err(wire::definition_status)?;
        compiled.selector.type_name().clone_into(&mut definition.r#type);
        Ok(definition)
    }

    /// A subscription as clients see it.
    async fn shown(
        &self,
        name: &str,
        state: &SubscriptionState,
    ) -> Result<v1::Subscription, Status> {
        let consumers = match self.admission.node.member() {
            None => Vec::new(),
            Some(member) => match self.emitters(&member).running(name).await {
                None => Vec::new(),
                Some(handle) => {
                    let (answer, running) = tokio::sync::oneshot::channel();
                    let _ = handle.tell(Order::Health(answer)).await;
                    running.await.unwrap_or_default().consumers
                }
            },
        };
        wire::subscription(state, consumers)
    }
}

/// What a change of a definition led to.
fn registered(outcome: Outcome) -> Result<(Arc<SubscriptionState>, bool), Status> {
    match outcome {
        Outcome::Subscription { state, changed } => Ok((state, changed)),
        _ => Err(wire::not_its_answer()),
    }
}

fn named(reader: &StateReader, name: &str) -> Result<FoundSubscription, Status> {
    let state = reader.subscription(name).ok_or_else(|| wire::subscription_not_found(name))?;
    Ok(FoundSubscription { name: name.to_owned(), state })
}

fn last_name(subscriptions: &[v1::Subscription]) -> String {
    let last = subscriptions.last().and_then(|last| last.definition.as_ref());
    last.map_or_else(String::new, |definition| definition.name.clone())
}

/// How many a page may have.
pub(super) fn page_size(asked: u32) -> Result<usize, Status> {
    let maximum = limits::SUBSCRIPTIONS_PAGE_MAX;
    match asked {
        0 => Ok(limits::SUBSCRIPTIONS_PAGE_DEFAULT as usize),
        asked if asked <= maximum => Ok(asked as usize),
        asked => Err(Reason::LimitExceeded.status(
            format!("page_size is {asked}; the most is {maximum}"),
            [
                ("field", "page_size".to_owned()),
                ("limit", "subscriptions_page_max".to_owned()),
                ("value", asked.to_string()),
                ("maximum", maximum.to_string()),
            ],
        )),
    }
}

fn start_of(to: &v1::StartFrom) -> Start {
    use v1::start_from::Kind;
    match to.kind {
        None | Some(Kind::Beginning(_)) => Start::Beginning,
        Some(Kind::End(_)) => Start::End,
        Some(Kind::Position(position)) => Start::Position(position),
        Some(Kind::TimeUs(time_us)) => Start::Time(time_us),
        Some(Kind::Version(version)) => Start::Version(version),
    }
}
