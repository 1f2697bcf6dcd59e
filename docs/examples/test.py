# The talk's function, in today's Python.
#
#   redoubt function deploy hello --runtime python3 --from-file docs/examples/test.py \
#       --handler test.hello --runtime-class gvisor
#   redoubt function call hello -d 'Hello world!'
def hello(event, context):
    print(event)
    return event['data']
