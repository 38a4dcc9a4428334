//! Is generated Python where handlers look for it, and what they take it for?

use std::fs;

use super::python;
use crate::cli::{code, listed};
use crate::support::{Project, text};

#[test]
fn item_13_codegen_restores_generated_files_and_leaves_the_users_alone() {
    let project = listed();
    assert_eq!(code(&project.rohas(&["codegen"])), 0);
    let model = project.path().join("src/generated/models/user.py");
    let handler = project.path().join("src/handlers/api/create_user.py");
    let original = fs::read_to_string(&model).unwrap();
    fs::write(&model, "# edited\n").unwrap();
    fs::write(&handler, "# mine\n").unwrap();
    let stale = project.rohas(&["codegen", "--check"]);
    assert_eq!(code(&stale), 3);
    assert!(text(&stale.stderr).contains("rohas codegen"), "{}", text(&stale.stderr));
    assert_eq!(fs::read_to_string(&model).unwrap(), "# edited\n", "--check writes nothing");

    assert_eq!(code(&project.rohas(&["codegen"])), 0);
    assert_eq!(fs::read_to_string(&model).unwrap(), original);
    assert_eq!(fs::read_to_string(&handler).unwrap(), "# mine\n");
    let again = project.rohas(&["codegen"]);
    assert!(text(&again.stdout).starts_with("0 written, 0 removed, "), "{}", text(&again.stdout));
    assert_eq!(code(&project.rohas(&["codegen", "--check"])), 0);
}

#[test]
fn item_14_codegen_leaves_the_projects_own_files_alone() {
    let project =
        listed().file("requirements.txt", "mine\n").file(".gitignore", "mine\n").file("pyproject.toml", "#\n");
    assert_eq!(code(&project.rohas(&["codegen"])), 0);
    for (path, expected) in [("requirements.txt", "mine\n"), (".gitignore", "mine\n"), ("pyproject.toml", "#\n")] {
        assert_eq!(fs::read_to_string(project.path().join(path)).unwrap(), expected, "{path}");
    }
}

fn generated(name: &str) -> Project {
    let project = Project::of_the_original(name);
    let output = project.rohas(&["codegen"]);
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    project
}

#[test]
fn item_30_31_generated_modules_are_where_handlers_import_them_from() {
    const FILES: [(&str, &[&str]); 7] = [
        ("", &["__init__", "state"]),
        ("models", &["__init__", "user"]),
        (
            "dto",
            &["__init__", "create_user_input", "web_socket_message", "health_response_dto", "timeline_test_fast_input"],
        ),
        (
            "api",
            &[
                "__init__",
                "health",
                "create_user",
                "test",
                "timeline_test_fast",
                "timeline_test_slow",
                "timeline_test_very_slow",
                "timeline_test_multi_step",
            ],
        ),
        (
            "events",
            &[
                "__init__",
                "bottleneck_detected",
                "bottleneck_logged",
                "cleanup_completed",
                "fast_completed",
                "manual_trigger",
                "message_received",
                "multi_step_completed",
                "nobody_listens",
                "slow_completed",
                "step_one_completed",
                "step_three_completed",
                "step_two_completed",
                "user_created",
                "very_slow_completed",
                "welcome_email_sent",
            ],
        ),
        ("cron", &["__init__"]),
        ("websockets", &["__init__", "hello_world"]),
    ];
    let project = generated("hello-world");
    for (folder, modules) in FILES {
        for module in modules {
            let path = project.path().join("src/generated").join(folder).join(format!("{module}.py"));
            assert!(path.is_file(), "{}", path.display());
        }
    }
    for project in [project, generated("e-commerce")] {
        python(
            &project,
            "
            import importlib, pathlib
            source = pathlib.Path('src')
            files = [*source.glob('handlers/*/*.py'), *source.glob('middlewares/*.py')]
            assert len(files) > 10, files
            for file in files:
                importlib.import_module('.'.join(file.relative_to(source).with_suffix('').parts))
            ",
        );
    }
}

#[test]
fn item_33_34_generated_classes_have_the_fields_and_methods_that_handlers_use() {
    python(
        &generated("hello-world"),
        "
        from datetime import datetime
        from generated.api.health import HealthResponse
        from generated.dto.health_response_dto import HealthResponseDto
        from generated.dto.web_socket_message import WebSocketMessage
        from generated.events.user_created import UserCreated
        from generated.models.user import User
        from generated.websockets.hello_world import HelloWorldConnection, HelloWorldMessage

        response = HealthResponse(data=HealthResponseDto(status='ok', timestamp='t'))
        assert response.model_dump() == response.dict() == {'data': {'status': 'ok', 'timestamp': 't'}}
        now = datetime.now()
        connection = HelloWorldConnection(connection_id='c', path='/ws/hello', connected_at=now)
        assert (connection.connection_id, connection.path, connection.connected_at) == ('c', '/ws/hello', now)
        message = HelloWorldMessage(data=WebSocketMessage(type='a', payload={}), timestamp=now)
        assert (message.data.type, message.timestamp) == ('a', now)
        event = UserCreated(payload=User(id=1, name='a', email='b', createdAt=now), timestamp=now)
        assert isinstance(event.payload, User) and event.timestamp == now
        ",
    );
}

#[test]
fn item_36_a_stub_is_written_for_each_missing_handler_and_can_be_imported() {
    let project = listed().file(
        "schema/more.ro",
        r#"
        event Paid { payload: Json handler: [book_payment] }
        cron NightlySweep { schedule: "0 0 2 * * *" }
        ws LiveFeed {
          path: "/ws/live"
          onConnect: [feed_opened]
          onMessage: [feed_said]
          onDisconnect: [feed_closed]
          middlewares: [apiKey]
        }
        "#,
    );
    assert_eq!(code(&project.rohas(&["codegen"])), 0);
    python(
        &project,
        "
        import importlib, inspect
        for module, function in [
            ('handlers.api.hello_world', 'handle_hello_world'),
            ('handlers.events.book_payment', 'book_payment'),
            ('handlers.cron.nightly_sweep', 'handle_nightly_sweep'),
            ('handlers.websockets.feed_opened', 'feed_opened'),
            ('handlers.websockets.feed_said', 'feed_said'),
            ('handlers.websockets.feed_closed', 'feed_closed'),
            ('middlewares.api_key', 'api_key_middleware'),
        ]:
            found = getattr(importlib.import_module(module), function)
            assert inspect.iscoroutinefunction(found), module
        ",
    );
}

#[test]
fn item_37_38_nested_models_have_defaults_and_both_forms_of_path_parameters_are_fields() {
    python(
        &generated("e-commerce"),
        "
        from datetime import datetime
        from generated.api.delete_order import DeleteOrderRequest
        from generated.api.get_order import GetOrderRequest
        from generated.models.order import Customer, Order, OrderItem

        item = OrderItem(productId=1, quantity=2)
        order = Order(id='1', customer=Customer(email='a'), items=[item], total=1.0)
        assert (order.note, order.customer.address, order.items[0].price) == (None, None, None)
        assert order.status == 'pending' and isinstance(order.createdAt, datetime)
        for request in (GetOrderRequest, DeleteOrderRequest):
            assert request.__annotations__['orderId'] in (str, 'str'), request
            assert request(orderId='7').orderId == '7'
        ",
    );
}
