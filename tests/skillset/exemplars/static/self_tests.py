class hf_swallowed:
    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        try:
            answer = endpoint_handler("a cat")
            assert answer is not None
            print("passed")
        except Exception as error:
            print(error)
        return True


class hf_silent:
    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        try:
            print(endpoint_handler("a cat"))
        except Exception:
            pass
        assert True


class hf_roundabout:
    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        self._run(endpoint_handler)

    def _run(self, handler):
        try:
            if handler("a cat") is None:
                raise ValueError("nothing")
        except Exception as error:
            print(error)


class hf_weak:
    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        print(endpoint_handler("a cat"))


class hf_raises_again:
    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        try:
            print(endpoint_handler("a cat"))
        except Exception as error:
            print(error)
            raise


class hf_verdict:
    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        try:
            print(endpoint_handler("a cat"))
            return True
        except Exception as error:
            print(error)


class hf_library:
    def __test__(self, endpoint_model, endpoint_handler, endpoint_label, tokenizer):
        import numpy

        numpy.testing.assert_allclose(endpoint_handler("a cat"), endpoint_handler("a cat"))
