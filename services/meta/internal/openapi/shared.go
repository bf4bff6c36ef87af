package openapi

func sharedParameters() object {
	text := func(name, in, description string, required bool) object {
		return object{"name": name, "in": in, "description": description, "required": required, "schema": object{"type": "string"}}
	}
	return object{
		"key":                  text("key", "path", "The key of the object or workflow", true),
		"idempotencyKeyInPath": text("idempotencyKey", "path", "The key that the invocation was started with", true),
		"idempotencyKey":       text("idempotency-key", "header", "Requests with the same key run once, and get the same result", false),
		"delay":                text("delay", "query", "When it is to begin, from now: 10s, 1h 30m, or in ISO 8601 PT1H", false),
	}
}

func sharedSchemas() object {
	return object{
		"RestateError": object{
			"type": "object", "title": "A request that failed", "required": []any{"code", "message", "source"},
			"properties": object{
				"code":       object{"type": "integer", "description": "Of the ingress the status; of an invocation what its handler gave"},
				"message":    object{"type": "string"},
				"stacktrace": object{"type": "string"},
				"metadata":   object{"type": "object", "additionalProperties": object{"type": "string"}},
				"source":     object{"type": "string", "enum": []any{"ingress", "invocation"}},
			},
		},
		"Send": object{
			"type": "object", "title": "An invocation that was started", "required": []any{"invocationId", "status"},
			"properties": object{
				"invocationId":  object{"type": "string"},
				"status":        object{"type": "string", "enum": []any{"Accepted", "PreviouslyAccepted"}},
				"executionTime": object{"type": "string", "format": "date-time", "description": "When it begins, if that was asked for"},
			},
		},
	}
}

func sharedResponses() object {
	answer := func(description, schemaName string) object {
		return object{"description": description, "content": object{"application/json": media(schemaName)}}
	}
	return object{
		"Send":                    answer("The invocation is durable", "Send"),
		"GenericError":            answer("The request failed, or the invocation did", "RestateError"),
		"InvocationNotFoundError": answer("There is no such invocation, or its result is not kept any more", "RestateError"),
		"InvocationNotReadyError": answer("The invocation is not over", "RestateError"),
	}
}
