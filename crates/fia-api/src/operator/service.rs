//! The HTTP service: the page, its JSON twin, its assets, and the actions.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, Method, StatusCode};
use tokio::task::AbortHandle;

use crate::app::{Edge, LogLevel, Service};
use crate::config::Config;
use crate::operator::access::{Access, Refusal};
use crate::operator::actions::{Action, ActionLog};
use crate::operator::assets;
use crate::operator::form::Form;
use crate::operator::page;
use crate::operator::response::{asset, html, json, secured, see_other, wants_json};
use crate::operator::shared::Shared;
use crate::operator::view::{KeyQuery, Overview};

/// The header with the digest of the state that a page shows.
const SHOWN: &str = "x-shown-state";

/// The operator's page. Cheap to clone.
#[derive(Clone)]
pub struct Operator {
    inner: Arc<Inner>,
    peer: Option<IpAddr>,
}

struct Inner {
    shared: Arc<Shared>,
    access: Access,
    actions: ActionLog,
    tasks: [AbortHandle; 3],
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Operator {
    /// Starts the sampling of counters and this replica's line of the fleet. Must be called within
    /// a Tokio runtime.
    #[must_use]
    pub fn start(config: &Config, edge: Edge, log_level: LogLevel) -> Self {
        let shared = Arc::new(Shared::new(config, edge, log_level));
        let sampling = Arc::clone(&shared);
        let sampling = tokio::spawn(async move { sampling.history.run(&sampling.edge).await });
        let fleet = Arc::clone(&shared);
        let fleet = tokio::spawn(async move {
            let readiness = &fleet.edge.state().readiness;
            fleet
                .fleet
                .run(&fleet.valkey, readiness, || fleet.line())
                .await;
        });
        let (probing, settings) = (Arc::clone(&shared), config.clone());
        let probing = tokio::spawn(async move { probing.probes.run(&settings).await });
        let inner = Inner {
            shared,
            access: Access::new(config.server.admin_key.as_ref()),
            actions: ActionLog::default(),
            tasks: [sampling, fleet, probing].map(|task| task.abort_handle()),
        };
        Self {
            inner: Arc::new(inner),
            peer: None,
        }
    }

    /// The id of this replica on the page.
    #[must_use]
    pub fn replica_id(&self) -> &str {
        &self.inner.shared.id
    }

    async fn respond(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        if parts.method == Method::GET {
            if let Some(found) = assets::find(path) {
                return asset(found, &parts.headers);
            }
            return match path {
                "/" => self.page(&parts.headers, parts.uri.query()).await,
                _ => StatusCode::NOT_FOUND.into_response(),
            };
        }
        if parts.method != Method::POST {
            return StatusCode::METHOD_NOT_ALLOWED.into_response();
        }
        let Some(form) = Form::of_body(body).await else {
            return StatusCode::PAYLOAD_TOO_LARGE.into_response();
        };
        match path {
            "/sign-in" => self.sign_in(&parts.headers, &form).await,
            "/sign-out" => {
                let cookie = self.inner.access.sign_out(&parts.headers);
                ([(SET_COOKIE, cookie)], see_other("/")).into_response()
            }
            _ => self.act(&parts.headers, path, &form).await,
        }
    }

    async fn page(&self, headers: &HeaderMap, query: Option<&str>) -> Response {
        let query = Form::of_query(query);
        let keys = KeyQuery {
            search: query.get("key").unwrap_or_default().trim().to_owned(),
            by: query.get("by").unwrap_or_default().to_owned(),
        };
        let shared = &self.inner.shared;
        shared.probes.request();
        // The script's next request waits for news, so that it shows them at once.
        if let Some(state) = headers.get(SHOWN).and_then(|state| state.to_str().ok()) {
            shared.wait_for_change(state).await;
        }
        let overview = self.overview(&keys).await;
        if wants_json(headers) {
            return json(StatusCode::OK, &overview);
        }
        let session = self.inner.access.session(headers);
        let context = page::Context {
            session: session.as_ref(),
            has_key: self.inner.access.has_key(),
            refusal: None,
        };
        html(StatusCode::OK, page::render(&overview, &context))
    }

    async fn overview(&self, query: &KeyQuery) -> Overview {
        let Inner {
            shared, actions, ..
        } = &*self.inner;
        Box::pin(shared.overview(query, actions.list())).await
    }

    async fn sign_in(&self, headers: &HeaderMap, form: &Form) -> Response {
        let Inner { access, shared, .. } = &*self.inner;
        let credential = form.get("credential").unwrap_or_default().trim();
        let authenticator = &shared.edge.state().authenticator;
        match access.sign_in(headers, credential, authenticator).await {
            Ok((actor, cookie)) => {
                tracing::warn!(actor = actor.logged(), "operator signed in");
                ([(SET_COOKIE, cookie)], see_other("/")).into_response()
            }
            Err(refusal) => self.refuse(headers, refusal).await,
        }
    }

    async fn act(&self, headers: &HeaderMap, path: &str, form: &Form) -> Response {
        let Inner {
            access,
            shared,
            actions,
            ..
        } = &*self.inner;
        let state = shared.edge.state();
        let csrf = form.get("csrf");
        let actor = match access.actor(headers, csrf, &state.authenticator).await {
            Ok(actor) => actor,
            Err(refusal) => return self.refuse(headers, refusal).await,
        };
        let Some(action) = Action::parse(path, form) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let by = (actor, self.peer);
        let outcome = actions.run(&action, by, (state, &shared.log_level)).await;
        if wants_json(headers) {
            let status = match outcome.is_done {
                true => StatusCode::OK,
                false => StatusCode::CONFLICT,
            };
            return json(status, &outcome);
        }
        see_other(&format!("/#{}", action.section())).into_response()
    }

    async fn refuse(&self, headers: &HeaderMap, refusal: Refusal) -> Response {
        tracing::warn!(
            client.address = self.peer.map(tracing::field::display),
            %refusal,
            "operator action refused"
        );
        if wants_json(headers) {
            let outcome = serde_json::json!({"is_done": false, "text": refusal.to_string()});
            return json(refusal.status(), &outcome);
        }
        let overview = self.overview(&KeyQuery::default()).await;
        let session = self.inner.access.session(headers);
        let context = page::Context {
            session: session.as_ref(),
            has_key: self.inner.access.has_key(),
            refusal: Some(refusal),
        };
        html(refusal.status(), page::render(&overview, &context))
    }
}

impl Service for Operator {
    fn for_peer(self, peer: IpAddr) -> Self {
        Self {
            peer: Some(peer),
            ..self
        }
    }

    async fn handle(self, request: Request) -> Response {
        secured(self.respond(request).await)
    }
}
